"""The report: a fabricated run whose scores are known by hand, its page read back with an HTML parser."""

import base64
import colorsys
import io
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image
from torch.nn import functional as F

from amd.checkpoint import ModelInfo, load_checkpoint, save_checkpoint
from amd.data.benchmarks import davis2016
from amd.data.images import write_labels, write_mask
from amd.evaluation.predictions import masks_folder, prediction_path, segments_folder
from amd.evaluation.vos import score_run
from amd.files import read_json, write_json
from amd.model.amd import AMD, Architecture
from amd.params import load_params
from amd.report.flow_colours import colour_wheel, flow_colours
from amd.report.page import Findings, choice_in_words, make_report
from amd.report.pictures import (
    FALSE_ALARM,
    HIT,
    MISS,
    OUTLINE,
    draw_errors,
    draw_truth,
    picture_sequence,
    representatives,
)
from amd.report.plots import POINTS, thinned
from amd.tables import MANIFEST, PAIRS, write_table
from amd.tracking import connect
from stages import report, run_stage

HEIGHT, WIDTH, SIDE = 48, 64, 10
# By how many pixels the 10x10 object is missed in each of six frames: J is (10 - k) / (10 + k).
# The first and the last frame do not count.
SHIFTS = {
    "image": {"ant": [9, 2, 2, 2, 2, 9], "bee": [9, 6, 6, 6, 6, 9]},
    "adapted": {"ant": [9, 1, 1, 1, 1, 9], "bee": [9, 2, 5, 3, 4, 9]},
}
PNG_OR_JPEG = re.compile(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)")
EVIL = "<script>alert('x')</script>.mp4"


def shifted_j(shift: int) -> float:
    return (SIDE - shift) / (SIDE + shift)


def j_of(prediction: str, sequence: str) -> float:
    return float(np.mean([shifted_j(shift) for shift in SHIFTS[prediction][sequence][1:-1]]))


def square(left: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[15 : 15 + SIDE, left : left + SIDE] = True
    return mask


def write_benchmark(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in SHIFTS["image"]:
        (root / "JPEGImages/480p" / name).mkdir(parents=True)
        for number in range(6):
            image = rng.integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / f"JPEGImages/480p/{name}/{number:05d}.jpg")
            write_mask(root / f"Annotations/480p/{name}/{number:05d}.png", square(20 + number))


def write_predictions(folder: Path, shifts: dict[str, list[int]]) -> None:
    for name, row in shifts.items():
        for number, shift in enumerate(row):
            mask = square(20 + number + shift)
            frame = f"{number:05d}"
            write_mask(prediction_path(masks_folder(folder, "davis2016"), name, frame), mask)
            write_labels(prediction_path(segments_folder(folder, "davis2016"), name, frame), mask * np.uint8(2))


def curve_row(iteration: int) -> dict[str, float]:
    row = {"iteration": iteration, "loss": 1 / iteration, "learning_rate": 1e-3, "iterations_per_s": 3.0}
    row |= {"data_wait_share": 0.01, "memory_mb": 900.0, "skipped": 0}
    return row | {f"{name}_{m}": 0.2 + 0.1 * m for name in ("area", "motion") for m in range(5)}


def segment_row(segment: int, motion: float, area: float = 0.2) -> dict[str, float]:
    row = {"segment": segment, "motion": motion, "area": area, "entropy": 0.1, "reconstruction_error": 0.02}
    return row | {"centre_x": 0.5, "centre_y": 0.4, "spread": 0.2, "frames": 64}


def manifest_row(path: str, reason: str = "") -> dict:
    numbers = {"width": 64, "height": 48, "fps": 24.0, "frames": 30, "duration_s": 90.0}
    status = "rejected" if reason else "accepted"
    return dict.fromkeys(MANIFEST.names) | numbers | {"path": path, "status": status, "reason": reason}


def write_project(root: Path) -> None:
    """What all stages before the report leave behind."""
    write_benchmark(root / "heldout")
    for name, shifts in SHIFTS.items():
        write_predictions(root / "predictions" / name, shifts)
    folders = {name: root / "predictions" / name for name in SHIFTS}
    write_json(root / "metrics/vos.json", score_run(davis2016(root / "heldout"), folders, 5)[0])
    curve = [curve_row(iteration) for iteration in (20, 40, 60)]
    summary = {"iterations": 60, "loss": 0.25, "pairs_per_s": 24.0, "data_wait_share": 0.01, "memory_mb": 900.0}
    write_json(root / "metrics/pretrain.json", summary | {"skipped_steps": 0, "curve": curve})
    segments = [segment_row(m, motion) for m, motion in enumerate((0.5, 1.25, 3.5, 0.25, 0.0))]
    write_json(root / "metrics/objectness.json", {"object_segment": 2, "segments": segments})
    inputs = [manifest_row("a.mp4"), manifest_row("b.mp4"), manifest_row(EVIL, "empty file")]
    write_table(root / "data/manifest.parquet", MANIFEST, inputs)
    pairs = {"video_id": "a", "pairs": 1234, "dropped_still": 7, "dropped_cut": 3, "median_change": 2.0}
    write_table(root / "data/shards/pairs.parquet", PAIRS, [pairs])
    architecture = Architecture("small", 5, 4, 0.1, "small", 128, 128)
    torch.manual_seed(0)
    save_checkpoint(root / "models/amd.safetensors", AMD(architecture), ModelInfo(architecture, 2, 32))
    text = (REPOSITORY / "params.yaml").read_text()
    (root / "params.yaml").write_text(re.sub(r"benchmark_root: \S+", "benchmark_root: heldout", text))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project on which the stage ran."""
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("AMD_PIPELINE_RUN", "test")
        run_stage("report", report.main)
        yield root


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project to harm, as the working folder; its MLflow store is set up already."""
    root = tmp_path / "copy"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    return root


class Page(HTMLParser):
    """A page taken apart: text, elements with attributes, and the cells of tables by id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._table: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in ("img", "meta", "link", "br"):
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(attributes.get("id") or "", [])
        if tag == "tr":
            self._table.append([])
        if tag in ("td", "th"):
            self._table[-1].append("")
        if tag in ("h3", "h4", "figcaption", "p", "title"):
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"<{tag}> is not closed where it should be"

    def handle_data(self, data: str) -> None:
        for tag in {"h3", "h4", "figcaption", "p", "title"} & set(self._open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self._open):
            self._table[-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(finished: Path) -> str:
    return (finished / "report/report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def decoded(uri: str) -> np.ndarray:
    match = PNG_OR_JPEG.fullmatch(uri)
    assert match, uri[:60]
    with Image.open(io.BytesIO(base64.b64decode(match[2], validate=True))) as image:
        assert image.format.lower() == match[1]
        return np.array(image)


def test_the_page_needs_nothing_else(page: Page, html: str):
    pictures = page.all("img")
    assert len(pictures) == 1 + 2 * 3 * 5  # the wheel; two sequences, three frames, five kinds
    for picture in pictures:
        assert picture["alt"]
        assert decoded(picture["src"]).shape[:2] == ((112, 112) if "wheel" in picture["alt"] else (HEIGHT, WIDTH))
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:image/", "#")), target
    assert not page.all("link")
    assert not page.all("iframe")
    assert all("src" not in script for script in page.all("script"))
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"https?://", html)


def test_ids_are_unique_and_every_reference_has_its_target(page: Page, html: str):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", html)) | {
        attributes["href"][1:] for tag, attributes in page.elements if tag in ("a", "use")
    }
    assert len(wanted) > 10
    assert wanted <= set(ids)


def test_headlines_come_label_free_first(page: Page):
    assert page.texts["title"][0] == "AMD run report"
    big = [float(text[1:]) for text in page.texts["p"] if re.fullmatch(r"J\d\.\d{3}", text)]
    means = [np.mean([j_of(name, sequence) for sequence in ("ant", "bee")]) for name in ("adapted", "image")]
    np.testing.assert_allclose(big, means * 2, atol=5.1e-4)  # segment 2 is the oracle's as well
    verdict = page.texts["p"][1]
    assert f"J {means[0]:.3f} on 2 held-out sequences of davis2016 (adapted masks)" in verdict
    assert f"{means[0] - means[1]:+.3f}" in verdict
    assert "helps 2 of 2" in verdict


def test_the_table_of_means(page: Page):
    head, bee, ant, mean = page.tables["means"]
    assert head[0] == "sequence"
    assert [row[0] for row in (bee, ant, mean)] == ["bee", "ant", "mean"]  # the worst adapted first
    for row in (bee, ant):
        adapted, image = j_of("adapted", row[0]), j_of("image", row[0])
        assert row[head.index("J adapted")] == f"{adapted:.3f}"
        assert row[head.index("J per image")] == f"{image:.3f}"
        assert row[head.index("change")] == f"{adapted - image:+.3f}"
        assert row[head.index("oracle J adapted")] == f"{adapted:.3f}"


def test_the_table_of_all_statistics(page: Page, finished: Path):
    head, *rows = page.tables["statistics"]
    scores = read_json(finished / "metrics/vos.json")["scores"]
    assert len(rows) == 2 * 2 * 2
    for sequence, masks, choice, *numbers in rows:
        prediction = {"per image": "image", "adapted": "adapted"}[masks]
        measures = scores[prediction][choice]["sequences"][sequence]
        wanted = [measures[name.split()[0]][name.split()[1]] for name in head[3:]]
        assert numbers == [f"{value:.3f}" for value in wanted]
    recall = next(row for row in rows if row[:3] == ["bee", "adapted", "label-free"])[head.index("J recall")]
    assert float(recall) == 0.5  # shifts 2 and 3 are above J 0.5, shifts 4 and 5 are not


def test_sequences_and_frames_worst_first(page: Page):
    assert page.texts["h3"] == ["bee", "ant"]
    assert page.texts["h4"][:3] == ["Frame 00002, worst", "Frame 00003, median", "Frame 00001, best"]
    captions = [text for text in page.texts["figcaption"] if text.startswith("adapted")]
    wanted = [f"adaptedJ {shifted_j(shift):.3f}" for shift in (5, 3, 2)]
    assert captions[:3] == wanted


def test_pictures_show_hits_misses_and_false_alarms(page: Page):
    alt = "bee, frame 00002: adapted"  # the truth begins at column 22, the mask at 27
    picture = decoded(next(image["src"] for image in page.all("img") if image["alt"] == alt)).astype(int)
    for column, colour in ((24, MISS), (29, HIT), (34, FALSE_ALARM)):
        distances = {other: np.abs(picture[20, column] - other).sum() for other in (HIT, MISS, FALSE_ALARM)}
        assert min(distances, key=distances.get) == colour
    assert np.ptp(picture[5, 5]) < 12  # grey where there is neither


def test_lineage_and_data_on_the_page(html: str, finished: Path):
    client = connect()
    runs = client.search_runs([client.get_experiment_by_name("amd").experiment_id])
    parent = next(run for run in runs if run.info.run_name == "pipeline")
    stage = next(run for run in runs if run.info.run_name == "report")
    assert parent.info.run_id in html
    assert stage.data.tags["params.sha256"] in html
    assert f"torch {torch.__version__}" in html
    stored = client.download_artifacts(stage.info.run_id, "report.html")
    assert Path(stored).read_text() == html
    for fact in ("<dt>rejected</dt><dd>1</dd>", "<dt>frame pairs</dt><dd>1,234</dd>", "<dt>minutes</dt><dd>3.0</dd>"):
        assert fact in html
    assert "empty file" in html


def test_names_from_data_are_escaped(html: str):
    assert EVIL not in html
    assert "&lt;script&gt;alert" in html


def test_missing_inputs_are_said(project: Path):
    for path in ("metrics", "data", "models", "predictions"):
        shutil.rmtree(path)
    run_stage("report", report.main)
    page = Page((project / "report/report.html").read_text())
    said = " ".join(page.texts["p"])
    for name in (
        "vos.json",
        "pretrain.json",
        "objectness.json",
        "manifest.parquet",
        "pairs.parquet",
        "amd.safetensors",
    ):
        assert name in said
    assert len(page.all("img")) == 0


def test_without_adapted_masks_the_image_ones_judge(project: Path):
    shutil.rmtree("predictions/adapted")
    scores = read_json("metrics/vos.json")
    del scores["scores"]["adapted"], scores["summary"]["adapted"]
    write_json("metrics/vos.json", scores)
    run_stage("report", report.main)
    page = Page((project / "report/report.html").read_text())
    assert page.texts["h3"] == ["bee", "ant"]
    assert any("predictions/adapted: no predictions there" in text for text in page.texts["p"])
    assert not any(image["alt"].endswith(": adapted") for image in page.all("img"))
    assert "J adapted" not in page.tables["means"][0]


def test_one_damaged_sequence_does_not_stop_the_others(project: Path):
    Path("predictions/adapted/masks/davis2016/bee/00002.png").write_bytes(b"\x89PNG")
    run_stage("report", report.main)
    page = Page((project / "report/report.html").read_text())
    assert page.texts["h3"] == ["ant"]
    assert any("bee/00002.png: not a readable image" in text for text in page.texts["p"])


def test_a_sequence_that_was_not_adapted_is_shown_without(project: Path):
    shutil.rmtree("predictions/adapted/masks/davis2016/bee")
    run_stage("report", report.main)
    page = Page((project / "report/report.html").read_text())
    shown = [image["alt"] for image in page.all("img")]
    assert not any(alt.startswith("bee") and alt.endswith("adapted") for alt in shown)
    assert sum(alt.startswith("bee") for alt in shown) == 3 * 4


def test_without_predictions_frames_are_chosen_by_place(project: Path):
    shutil.rmtree("predictions")
    run_stage("report", report.main)
    page = Page((project / "report/report.html").read_text())
    assert page.texts["h4"][:3] == ["Frame 00001, first", "Frame 00003, middle", "Frame 00004, last"]
    assert sum(image["alt"].startswith("ant") for image in page.all("img")) == 3 * 3


def test_large_benchmarks_show_the_worst(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "PICTURED", 1)
    run_stage("report", report.main)
    page = Page((project / "report/report.html").read_text())
    assert page.texts["h3"] == ["bee"]
    assert any("1 of 2 sequences" in text for text in page.texts["p"])


def test_a_page_of_nothing_at_all(tmp_path: Path):
    make_report(tmp_path / "page.html", Findings(load_params(REPOSITORY / "params.yaml"), {}))
    assert Page((tmp_path / "page.html").read_text()).texts["title"] == ["AMD run report"]


def test_segment_flow_is_the_models_in_pixels_of_the_frame(finished: Path):
    model, info = load_checkpoint(finished / "models/amd.safetensors")
    bee = davis2016(finished / "heldout")[1]
    shown = picture_sequence(bee, {"adapted": finished / "predictions/adapted"}, "adapted", model, info)
    assert [frame.name for frame in shown.frames] == ["00002", "00003", "00001"]
    assert shown.curves["adapted"] == pytest.approx([shifted_j(shift) for shift in (2, 5, 3, 4)])
    lengths = []
    for frame in shown.frames:
        pair = []
        for number in (int(frame.name), int(frame.name) + 1):
            image = np.array(Image.open(bee.frames[number].image))
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            size = (32, round(32 * WIDTH / HEIGHT))
            pair.append(F.interpolate(pixels, size, mode="bilinear", antialias=True) / 255)
        with torch.no_grad():
            flow = model(*pair).forward_flows[0]
        flow = flow * torch.tensor([WIDTH / 128, HEIGHT / 128]).view(1, 2, 1, 1)
        flow = F.interpolate(flow, (HEIGHT, WIDTH), mode="bilinear")[0].numpy()
        lengths.append(np.hypot(*flow).max())
        picture = decoded(frame.pictures["flow"]).astype(int)
        assert np.abs(picture - flow_colours(flow, shown.longest_flow)).mean() < 4  # JPEG, 8-bit resizing
    assert shown.longest_flow == pytest.approx(max(lengths), rel=0.02)


@pytest.mark.parametrize(
    ("vector", "colour"),
    [
        ((2, 0), (255, 0, 0)),  # right
        ((0, 2), (128, 255, 0)),  # down
        ((-2, 0), (0, 255, 255)),  # left
        ((0, -2), (128, 0, 255)),  # up
        ((1, 0), (255, 128, 128)),  # half as far
        ((9, 0), (255, 0, 0)),  # farther than full colour
        ((0, 0), (255, 255, 255)),
    ],
)
def test_flow_colours_by_hand(vector: tuple[int, int], colour: tuple[int, int, int]):
    flow = np.broadcast_to(np.array(vector, np.float32)[:, None, None], (2, 2, 3))
    coloured = flow_colours(flow, 2.0)
    assert coloured.shape == (2, 3, 3)
    assert coloured.dtype == np.uint8
    assert np.abs(coloured[0, 0].astype(int) - colour).max() <= 1


def test_flow_colours_agree_with_colorsys():
    flow = np.random.default_rng(1).normal(size=(2, 5, 7))
    lengths = np.hypot(*flow)
    coloured = flow_colours(flow, lengths.max())
    for y, x in np.ndindex(5, 7):
        hue = np.arctan2(flow[1, y, x], flow[0, y, x]) / (2 * np.pi) % 1
        wanted = 255 * np.array(colorsys.hsv_to_rgb(hue, lengths[y, x] / lengths.max(), 1))
        assert np.abs(coloured[y, x] - wanted).max() <= 0.5 + 1e-6


def test_no_flow_is_white_whatever_the_scale():
    assert (flow_colours(np.zeros((2, 3, 3)), 0.0) == 255).all()


def test_the_wheel_is_a_disc_of_all_directions():
    wheel = colour_wheel(101)
    assert wheel.shape == (101, 101, 4)
    assert wheel[50, 50].tolist() == [255, 255, 255, 255]
    assert wheel[0, 0, 3] == 0
    assert np.abs(wheel[50, 99].astype(int) - [255, 0, 0, 255]).max() < 10
    assert np.abs(wheel[50, 1].astype(int) - [0, 255, 255, 255]).max() < 10


def test_representatives():
    assert representatives([0.5, 0.9, 0.1, 0.7, 0.6]) == {2: "worst", 4: "median", 1: "best"}
    assert list(representatives([0.5, 0.9, 0.1])) == [2, 0, 1]
    assert representatives([0.4, 0.2]) == {1: "worst", 0: "best"}
    assert representatives([0.4]) == {0: "only"}


def test_overlays_keep_what_they_should():
    image = np.full((20, 30, 3), 200, np.uint8)
    truth, mask = np.zeros((2, 20, 30), bool)
    truth[5:15, 5:15], mask[5:15, 10:20] = True, True
    shown = draw_truth(image, truth)
    assert (shown[10, 10] == 200).all()  # the object as it is
    assert (shown[2, 25] == 70).all()  # the rest dark
    assert np.abs(shown[5, 10].astype(int) - OUTLINE).max() < 20  # smoothed
    errors = draw_errors(image, mask, truth)
    for column, colour in ((7, MISS), (12, HIT), (17, FALSE_ALARM)):
        assert errors[10, column].tolist() == [int(0.4 * 140 + 0.6 * value) for value in colour]
    assert (image == 200).all()


def test_long_curves_are_averaged_down():
    values = np.arange(10 * POINTS, dtype=float)
    assert thinned(values).tolist() == [4.5 + 10 * n for n in range(POINTS)]
    values[:10] = np.nan
    values[10] = np.nan
    short = thinned(values)
    assert np.isnan(short[0])
    assert short[1] == 15.0  # the mean of 11 to 19
    assert thinned([1, 2]).tolist() == [1, 2]


def test_the_choice_in_words():
    rows = [segment_row(0, 1.5), segment_row(1, 9.0, area=0.005), segment_row(2, 3.0)]
    words = choice_in_words(rows, 2)
    assert "Segment 2 moves 3.00 px" in words
    assert "segment 0, 1.50 px" in words  # segment 1 is all but empty
    assert "no other segment is a candidate" in choice_in_words(rows[1:], 2)
