"""`amd demo` as a user has it: a real clip dropped into the page in Chromium, played, and taken away again."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from projects import REPOSITORY

from amd.evaluation.metrics import jaccard

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt install chromium)")

FRAMES, FPS, SIZE = 10, 10, (320, 180)
WAIT_MS = 300_000

# Of the canvases, frame and overlay: how many pixels differ, and where, as text of 0 and 1; and the slider's place.
DIFFERENCE = """() => {
  const [plain, masked] = [...document.querySelectorAll("canvas")].map(canvas =>
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
  const differs = [];
  for (let i = 0; i < plain.length; i += 4)
    differs.push(Math.abs(plain[i] - masked[i]) + Math.abs(plain[i + 1] - masked[i + 1]) > 3 ? 1 : 0);
  return {differs: differs.join(""), time: Number(document.querySelector(".time").value)};
}"""


def real_clip(path: Path) -> Path:
    """The first frames of the repository's own real clip, small."""
    with av.open(str(REPOSITORY / "examples/blackswan.mp4")) as clip, av.open(str(path), "w") as small:
        stream = small.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE
        for number, frame in zip(range(FRAMES), clip.decode(video=0), strict=False):
            picture = frame.reformat(*SIZE, format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            small.mux(stream.encode(picture))
        small.mux(stream.encode(None))
    return path


class Demo:
    """A running `amd demo`, with a folder of its own for temporary files."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.files = folder / "tmp"
        self.files.mkdir()
        command = (sys.executable, "-m", "amd.cli", "demo", "--port", "0", *words)
        environment = os.environ | {"TMPDIR": str(self.files)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"open (http://127\.0\.0\.1:\d+) .*\n", line)
        assert match, line
        self.url = match[1]

    def end(self, number: signal.Signals) -> str:
        """Its last words; it must end well."""
        self.process.send_signal(number)
        words, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return words


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, "--method", "motion")
    yield demo
    demo.process.kill()
    demo.process.communicate()


@pytest.fixture
def page(demo: Demo) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        page = chromium.new_page(viewport={"width": 1366, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.said = []
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(demo.url)
        yield page
        chromium.close()


def drawn(page: Any) -> tuple[np.ndarray, float]:
    """Where the overlay differs from the frame, bool H,W, and the time as a share of the clip's."""
    state = page.evaluate(DIFFERENCE)
    differs = np.array(list(state["differs"]), int).reshape(SIZE[::-1]) > 0
    return differs, state["time"]


def downloaded(page: Any, kind: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.locator(f"[data-kind={kind}]").click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def masks(archive: bytes) -> np.ndarray:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return np.stack([np.array(Image.open(files.open(name))) for name in sorted(files.namelist())])


@needs_chromium
def test_a_clip_is_dropped_watched_played_moved_and_taken_away(page: Any, demo: Demo, tmp_path: Path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    page.evaluate("""() => { window.statuses = new Set(); new MutationObserver(() => {
      for (const status of document.querySelectorAll(".status")) window.statuses.add(status.textContent);
    }).observe(document.querySelector("#jobs"), {subtree: true, childList: true, characterData: true}); }""")
    page.set_input_files("#file", [tmp_path / "bad.mp4", real_clip(tmp_path / "clip.mp4")])
    page.wait_for_selector(".job.failed")
    assert page.locator(".job.failed .status").text_content().startswith("not a readable video")
    page.wait_for_selector(".job.done .viewer")
    statuses = page.evaluate("[...window.statuses]")
    # How many of them are seen is the machine's speed; each that counts frames says of how many.
    assert all(re.match(r"[a-z ]+, \d+ of 10 frames", each) for each in statuses if "frames, " in each)
    assert len(statuses) > 1

    page.wait_for_function("document.querySelector('.time').value > 0.3")  # it plays
    page.locator(".play").click()
    page.locator(".time").fill("0.5")
    page.wait_for_timeout(1000)
    own, moment = drawn(page)
    assert 0.4 < moment < 0.6
    name, archive = downloaded(page, "masks")
    written = masks(archive)
    assert (name, written.shape) == ("clip-masks.zip", (FRAMES, *SIZE[::-1]))
    number = int(moment * FRAMES)
    assert max(jaccard(own, mask > 0) for mask in written[number - 1 : number + 2]) > 0.9

    page.locator(".threshold input").fill("0.2")
    wider, _ = drawn(page)
    assert wider.sum() > own.sum()
    assert (wider | ~own).mean() > 0.99
    name, archive = downloaded(page, "masks")
    assert name == "clip-masks-0.2.zip"
    soft = masks(downloaded(page, "soft16")[1])
    assert ((masks(archive) > 0) == (soft / 65535 > 0.2)).all()
    assert page.said == []

    page.locator(".job.failed .remove").click()
    page.wait_for_selector(".job.failed", state="detached")
    assert demo.end(signal.SIGTERM) == "ended; what was dropped and made is deleted\n"
    assert list(demo.files.iterdir()) == []
    page.wait_for_selector("#lost", state="visible")


def test_ctrl_c_while_it_works_ends_the_work_too(demo: Demo, tmp_path: Path):
    import httpx

    clip = real_clip(tmp_path / "clip.mp4").read_bytes()
    for name in ("first.mp4", "second.mp4"):
        assert httpx.post(f"{demo.url}/jobs", params={"name": name}, content=clip).status_code == 200
    states = lambda: [job["state"] for job in httpx.get(f"{demo.url}/jobs").json()]
    while "working" not in (found := states()):
        time.sleep(0.05)
    assert found == ["working", "queued"], "one at a time"
    demo.end(signal.SIGINT)
    assert list(demo.files.iterdir()) == []
