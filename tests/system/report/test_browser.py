"""The report in a real browser, at the widths of a laptop and of a phone: Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import REPOSITORY
from reports import write_project

from amd.config import load_params
from amd.data.benchmarks.davis import davis2016
from amd.data.tables import MANIFEST, read_table
from amd.models.loading import open_model
from amd.report.evaluations import sections
from amd.report.page import Findings, make_report
from amd.report.pictures import picture_sequence
from amd.runtime.files import read_json

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt install chromium)")

WIDTHS = {"laptop": (1366, 768), "phone": (390, 844)}
SMALLEST_TEXT = 11  # pixels

# The size that every visible text is drawn at, and what it says; figures are scaled.
TEXT_SIZES = """() => [...document.querySelectorAll("body *")].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
    && element.getBoundingClientRect().width).map(element => {
  const matrix = element.ownerSVGElement && element.getScreenCTM();
  const scale = matrix ? Math.hypot(matrix.a, matrix.b) : 1;
  return [parseFloat(getComputedStyle(element).fontSize) * scale, element.textContent.trim().slice(0, 40)];
})"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section, of a fabricated run."""
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    model, info = open_model(root / "models/amd.safetensors")
    folders = {name: root / "predictions" / name for name in ("image", "adapted")}
    shown = [picture_sequence(item, folders, "adapted", model, info) for item in davis2016(root / "heldout")]
    lineage = {"git.commit": "0123456789abcdef" * 2, "params.sha256": "f" * 64, "date": "today", "dvc.data": "a" * 32}
    findings = Findings(
        params=load_params(REPOSITORY / "params.yaml"),
        lineage=lineage,
        manifest=read_table(root / "data/manifest.parquet", MANIFEST),
        pretrain=read_json(root / "metrics/pretrain.json"),
        objectness=read_json(root / "metrics/objectness.json"),
        vos=read_json(root / "metrics/vos.json"),
        evaluations=sections(root / "metrics"),
        sequences=shown,
        problems=["one thing that could not be shown"],
    )
    make_report(root / "report.html", findings)
    return root / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """The opened page at one width; what it complained of and asked for is in `page.said` and `page.asked`."""
    width, height = WIDTHS[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.goto(report.as_uri(), timeout=120_000)
    yield page
    page.close()


def column(page: Any, table: str, place: int) -> list[str]:
    return [text.strip() for text in page.locator(f"#{table} tbody tr > :nth-child({place})").all_text_contents()]


def test_it_says_nothing_and_asks_no_network(page: Any, report: Path):
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [report.as_uri()]


def test_clips_play(page: Any):
    page.locator("video").first.evaluate("clip => clip.play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.1")
    assert page.evaluate("document.querySelector('video').videoWidth") == 64
    page.locator("video").first.evaluate("clip => clip.pause()")


def test_a_picture_enlarges_on_a_click(page: Any):
    picture = page.locator(".pictures img").first
    before = picture.bounding_box()["width"]
    picture.click()
    large = page.locator("#large img")
    large.wait_for(state="visible")
    assert large.get_attribute("alt") == picture.get_attribute("alt")
    assert large.bounding_box()["width"] > before
    page.keyboard.press("Escape")
    large.wait_for(state="hidden")


def test_charts_have_axes_units_and_tooltips(page: Any):
    loss = page.locator("#training .plots figure").first
    assert {"iteration", "loss"} <= {text.strip() for text in loss.locator("svg text").all_text_contents()}
    assert loss.locator("g.tip > title").first.text_content() == "iteration 20, loss: 0.05"
    motion = page.locator("#segments .plots figure").first
    assert motion.locator("g.tip > title").nth(2).text_content() == "segment 2, pixels per pair: 3.5"


def test_columns_that_sort_say_so(page: Any):
    sign = "button => getComputedStyle(button, '::after').content"
    assert page.locator("#means th button").first.evaluate(sign).replace("\\a0", "").strip('"\u00a0 ') == "↕"


def test_tables_sort_by_a_click(page: Any):
    heads = [text.strip() for text in page.locator("#methods thead th").all_text_contents()]
    place = 1 + heads.index("J over frames")
    button = page.locator(f"#methods thead th:nth-child({place}) button")
    button.click()
    rising = [float(cell) for cell in column(page, "methods", place)]
    assert len(set(rising)) > 3
    assert rising == sorted(rising)
    assert column(page, "methods", 1)[rising.index(max(rising))].startswith("adapted")
    button.click()
    assert [float(cell) for cell in column(page, "methods", place)] == rising[::-1]
    page.locator("#means thead th:nth-child(1) button").click()
    assert column(page, "means", 1) == ["ant", "bee"]


def test_what_is_not_there_sorts_last(page: Any):
    cells = page.locator("#robustness .tables tbody tr > :nth-child(2)")
    page.locator("#robustness .tables thead th:nth-child(2) button").click()
    assert cells.all_text_contents() == ["0.500", "0.750", "–"]


def test_it_fits_the_width_and_reads_well(page: Any, tmp_path: Path):
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    sizes = page.evaluate(TEXT_SIZES)
    assert len(sizes) > 200
    assert [entry for entry in sizes if entry[0] < SMALLEST_TEXT] == []
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 50_000
