"""How masks change when annotated frames are corrupted (the slides' Table 1).

Enters: sequences of a benchmark and what segments an image. Leaves: intersection over union and accuracy
(intersection over ground truth) of foreground and background for the frames as they are and under every corruption,
pooled over all frames, with their protocol and the published numbers; and pictures of frames with their masks.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from amd.checkpoint import ModelInfo
from amd.data.benchmarks import LEFT_OUT, BenchmarkFrame, Sequence, open_benchmark
from amd.data.images import read_image
from amd.data.sequences import read_truth
from amd.errors import UserError
from amd.evaluation.corruptions import Corruption, Strengths
from amd.evaluation.vos import LABEL_FREE
from amd.files import atomic_path, write_json
from amd.loading import resolve_model
from amd.model.amd import AMD
from amd.model.inference import object_mask, soft_masks
from amd.overlay import draw_mask
from amd.progress import progress
from amd.segmenter import object_segment

NORMAL = "normal"
MEASURES = tuple(
    f"{side}_{measure}" for measure in ("iou", "accuracy") for side in ("foreground", "background", "mean")
)

# Table 1 of the slides: YouTube-VOS valid, the published AMD.
PUBLISHED = {
    "dataset": "youtubevos valid",
    "source": "Investigating the Emergence of Objectness, table 1",
    "scores": {
        name: dict(zip(MEASURES, values, strict=True))
        for name, values in {
            NORMAL: (0.3068, 0.8218, 0.5643, 0.3872, 0.9390, 0.6631),
            "inverted": (0.2773, 0.8124, 0.5448, 0.3554, 0.9344, 0.6449),
            "blurred": (0.3475, 0.8256, 0.5866, 0.4500, 0.9314, 0.6907),
        }.items()
    },
}

CELL = 320, 180  # width and height of a picture of the sheet
TITLE = 24  # pixels above the pictures

Segmenter = Callable[[np.ndarray], np.ndarray]  # image uint8 H,W,3 to mask bool H,W


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels: hits, false alarms, misses and correct rejections; they add up over frames."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    rejections: int = 0

    @classmethod
    def of(cls, mask: np.ndarray, truth: np.ndarray) -> "Confusion":
        """Counts of one frame: two bool arrays H,W."""
        hits, found, wanted = (int(np.count_nonzero(pixels)) for pixels in (mask & truth, mask, truth))
        return cls(hits, found - hits, wanted - hits, mask.size - found - wanted + hits)

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def scores(self) -> dict[str, float | None]:
        """The six numbers of MEASURES; None where the truth has no such pixel, and nothing was claimed."""
        wrong = self.misses + self.false_alarms
        iou = _share(self.hits, self.hits + wrong), _share(self.rejections, self.rejections + wrong)
        accuracy = (
            _share(self.hits, self.hits + self.misses),
            _share(self.rejections, self.rejections + self.false_alarms),
        )
        return dict(zip(MEASURES, (*iou, _mean(*iou), *accuracy, _mean(*accuracy)), strict=True))


def score_robustness(sequences: list[Sequence], segment: Segmenter, corruptions: Mapping[str, Corruption]) -> dict:
    """{"protocol", "published", "scores": {"normal" and every corruption: numbers of MEASURES}}, pooled.

    Raises UserError for a truth of another size than its frame, or when no frame is annotated.
    """
    pooled = {name: Confusion() for name in (NORMAL, *corruptions)}
    frames = _scored(sequences)
    for frame in progress(frames, "robustness", unit="frames"):
        image, truth = _annotated(frame)
        for name, corrupted in _versions(image, truth, corruptions).items():
            pooled[name] += Confusion.of(segment(corrupted), truth)
    return {
        "protocol": _protocol(sequences, len(frames)),
        "published": PUBLISHED,
        "scores": {name: confusion.scores() for name, confusion in pooled.items()},
    }


def model_segmenter(model: AMD, info: ModelInfo) -> Segmenter:
    """What segments an image with the model's object segment; UserError when it has none."""
    chosen = object_segment(info)
    return lambda image: object_mask(soft_masks(model, torch.from_numpy(image), info.short_edge), chosen).cpu().numpy()


def run_robustness(
    dataset: str,
    root: Path,
    model: str,
    strengths: Strengths,
    further: bool,
    json_path: Path | None,
    pictures: Path | None,
) -> None:
    """Score a model on a benchmark as it is and corrupted; print the table, write what is asked for."""
    sequences = open_benchmark(dataset, root)
    network, info = resolve_model(model)
    segment = model_segmenter(network.to("cuda" if torch.cuda.is_available() else "cpu"), info)
    corruptions = strengths.slides() | (strengths.further() if further else {})
    report = score_robustness(sequences, segment, corruptions)
    report["protocol"] |= {"model": model, "strengths": asdict(strengths)}
    print(format_robustness(report))
    if json_path:
        write_json(json_path, report)
    if pictures:
        for sequence in sequences:
            write_sheet(Path(pictures) / f"{sequence.name}.png", [sequence], segment, corruptions)


def format_robustness(report: dict) -> str:
    """The table: a line per measure, a column per version of the frames; the published numbers below."""
    published = report["published"]
    lines = [*_table(report["scores"]), "", f"published ({published['dataset']}):", *_table(published["scores"]), ""]
    return "\n".join(lines + [f"{key}: {value}" for key, value in report["protocol"].items()])


def write_sheet(
    path: Path, sequences: list[Sequence], segment: Segmenter, corruptions: Mapping[str, Corruption]
) -> None:
    """A PNG: for the middle scored frame of every sequence, each version of it, and below it its mask."""
    rows = [_titles([NORMAL, *corruptions])]
    for sequence in sequences:
        image, truth = _annotated(_scored([sequence])[len(sequence.scored_frames) // 2])
        versions = _versions(image, truth, corruptions).values()
        rows.append(np.hstack([_cell(version) for version in versions]))
        rows.append(np.hstack([_cell(draw_mask(version, segment(version))) for version in versions]))
    with atomic_path(path) as part:
        Image.fromarray(np.vstack(rows)).save(part, format="PNG", optimize=True)


def _scored(sequences: list[Sequence]) -> list[BenchmarkFrame]:
    frames = [frame for sequence in sequences for frame in sequence.scored_frames]
    if not frames:
        raise UserError(f"{sequences[0].frames[0].image.parent}: no annotated frame counts there; nothing to score")
    return frames


def _annotated(frame: BenchmarkFrame) -> tuple[np.ndarray, np.ndarray]:
    """The image and its truth, of one size."""
    image, truth = read_image(frame.image), read_truth(frame)
    if image.shape[:2] != truth.shape:
        raise UserError(
            f"{frame.truth}: {truth.shape[1]}x{truth.shape[0]} pixels, but its frame {frame.image} has "
            f"{image.shape[1]}x{image.shape[0]}; use the frames that the annotations were drawn on"
        )
    return image, truth


def _versions(image: np.ndarray, truth: np.ndarray, corruptions: Mapping[str, Corruption]) -> dict[str, np.ndarray]:
    """The frame as it is and under every corruption."""
    return {NORMAL: image} | {name: corrupt(image, truth) for name, corrupt in corruptions.items()}


def _protocol(sequences: list[Sequence], frames: int) -> dict:
    return {
        "dataset": sequences[0].dataset,
        "sequences": len(sequences),
        "frames_scored": frames,
        "left_out": LEFT_OUT.get(sequences[0].dataset, "none"),
        "averaging": "pooled over all pixels of all frames",
        "measures": "intersection over union, and accuracy: intersection over ground truth; annotated objects merged",
        "truth": "the annotation of the frame as it is, also behind the bar and after blurs",
    } | LABEL_FREE


def _table(scores: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    lines = [f"{'%':20}" + "".join(f"{name:>12}" for name in scores)]
    for measure in MEASURES:
        values = [numbers[measure] for numbers in scores.values()]
        cells = [f"{'-':>12}" if value is None else f"{100 * value:12.2f}" for value in values]
        lines.append(f"{measure.replace('_', ' '):20}" + "".join(cells))
    return lines


def _titles(names: list[str]) -> np.ndarray:
    width, _ = CELL
    strip = np.full((TITLE, width * len(names), 3), 255, np.uint8)
    for number, name in enumerate(names):
        place = number * width + 8, TITLE - 8
        cv2.putText(strip, name.replace("_", " "), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _cell(image: np.ndarray) -> np.ndarray:
    """The image fitted into a cell, white around it."""
    scale = min(CELL[0] / image.shape[1], CELL[1] / image.shape[0])
    width, height = (max(1, round(length * scale)) for length in (image.shape[1], image.shape[0]))
    cell = np.full((CELL[1], CELL[0], 3), 255, np.uint8)
    top, left = (CELL[1] - height) // 2, (CELL[0] - width) // 2
    cell[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cell


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2
