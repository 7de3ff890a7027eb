"""A fabricated run whose scores are known by hand, for the tests of the report, and its page taken apart."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from checkpoints import save_amd
from layouts import write_davis
from PIL import Image
from projects import REPOSITORY

from amd.data.benchmarks.davis import davis2016
from amd.data.benchmarks.predictions import masks_folder, prediction_path, segments_folder
from amd.data.images import write_image, write_labels, write_mask
from amd.data.tables import MANIFEST, PAIRS, write_table
from amd.evaluation.published import published_vos
from amd.evaluation.robustness import MEASURES
from amd.evaluation.robustness import PUBLISHED as PUBLISHED_ROBUSTNESS
from amd.evaluation.vos import score_baselines, score_run
from amd.runtime.files import write_json

HEIGHT, WIDTH, SIDE = 48, 64, 10
# By how many pixels the 10x10 object is missed in each of six frames: J is (10 - k) / (10 + k).
# The first and the last frame do not count.
SHIFTS = {
    "image": {"ant": [9, 2, 2, 2, 2, 9], "bee": [9, 6, 6, 6, 6, 9]},
    "adapted": {"ant": [9, 1, 1, 1, 1, 9], "bee": [9, 2, 5, 3, 4, 9]},
}
ROBUSTNESS = {"normal": 0.75, "inverted": 0.5, "jpeg": None}  # every measure of a version
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
        images = (rng.integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(6))
        write_davis(root, name, ((image, square(20 + number)) for number, image in enumerate(images)))


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
    return row | {"centre_x": 0.5, "centre_y": 0.4, "centre_deviation": 0.05, "spread": 0.2, "frames": 64}


def manifest_row(path: str, reason: str = "") -> dict:
    numbers = {"width": 64, "height": 48, "fps": 24.0, "frames": 30, "duration_s": 90.0}
    status = "rejected" if reason else "accepted"
    return dict.fromkeys(MANIFEST.names) | numbers | {"path": path, "status": status, "reason": reason}


def write_evaluations(metrics: Path) -> None:
    """Robustness with its sheet, adaptation, and a saliency that was skipped."""
    scores = {name: dict.fromkeys(MEASURES, value) for name, value in ROBUSTNESS.items()}
    protocol = {"dataset": "davis2016", "frames_scored": 8}
    write_json(metrics / "robustness.json", {"protocol": protocol, "published": PUBLISHED_ROBUSTNESS, "scores": scores})
    write_image(metrics / "robustness.png", np.full((60, 90, 3), 120, np.uint8))
    videos = {
        name: {"status": "adapted", "seconds": 2.0, "iterations": 3, "first_loss": 0.2, "last_loss": last}
        for name, last in {"ant": 0.1, "bee": 0.3}.items()
    }
    write_json(metrics / "adapt.json", {"videos": 2, "failed": 0, "seconds": 4.5, "per_video": videos})
    write_json(metrics / "saliency.json", {"skipped": "no data.saliency_root is set"})


def write_project(root: Path) -> None:
    """What all stages before the report leave behind."""
    write_benchmark(root / "heldout")
    for name, shifts in SHIFTS.items():
        write_predictions(root / "predictions" / name, shifts)
    folders = {name: root / "predictions" / name for name in SHIFTS}
    sequences = davis2016(root / "heldout")
    vos = score_run(sequences, folders, 5)[0]
    vos |= {"baselines": score_baselines(sequences)[0], "published": published_vos(sequences)}
    write_json(root / "metrics/vos.json", vos)
    write_evaluations(root / "metrics")
    curve = [curve_row(iteration) for iteration in (20, 40, 60)]
    summary = {"iterations": 60, "loss": 0.25, "pairs_per_s": 24.0, "data_wait_share": 0.01, "memory_mb": 900.0}
    write_json(root / "metrics/pretrain.json", summary | {"skipped_steps": 0, "curve": curve})
    segments = [segment_row(m, motion) for m, motion in enumerate((0.5, 1.25, 3.5, 0.25, 0.0))]
    write_json(root / "metrics/objectness.json", {"object_segment": 2, "segments": segments})
    inputs = [manifest_row("a.mp4"), manifest_row("b.mp4"), manifest_row(EVIL, "empty file")]
    write_table(root / "data/manifest.parquet", MANIFEST, inputs)
    pairs = {"video_id": "a", "pairs": 1234, "dropped_still": 7, "dropped_cut": 3, "median_change": 2.0}
    write_table(root / "data/shards/pairs.parquet", PAIRS, [pairs])
    save_amd(root / "models/amd.safetensors", 5, 2, 32, motion=128)
    text = re.sub(r"benchmark: \S+", "benchmark: davis2016", (REPOSITORY / "params.yaml").read_text())
    (root / "params.yaml").write_text(re.sub(r"benchmark_root: \S+", "benchmark_root: heldout", text))


class Page(HTMLParser):
    """A page taken apart: text, elements with attributes, and the cells of tables by id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.sequences: list[str] = []  # those that are pictured
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
        if self._open[-2:] == ["header", "h3"]:
            self.sequences.append(data)
        if {"td", "th"} & set(self._open):
            self._table[-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def decoded(uri: str) -> np.ndarray:
    match = PNG_OR_JPEG.fullmatch(uri)
    assert match, uri[:60]
    with Image.open(io.BytesIO(base64.b64decode(match[2], validate=True))) as image:
        assert image.format.lower() == match[1]
        return np.array(image)
