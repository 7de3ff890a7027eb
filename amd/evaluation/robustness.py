"""How masks change when annotated frames are corrupted (the slides' Table 1).

Input: sequences of a benchmark, and masks that a model or a folder gives. Output: intersection over union and
accuracy (intersection over ground truth) of foreground and background for the frames as they are and under every
corruption, pooled over all frames, with their protocol and the published numbers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import torch

from amd.config import Robustness
from amd.data.benchmarks.davis import LEFT_OUT, BenchmarkFrame, open_benchmark
from amd.data.benchmarks.predictions import check_predictions, prediction_path, read_prediction
from amd.data.benchmarks.sequences import Sequence, visible_names
from amd.draw.overlay import draw_mask
from amd.draw.sheet import write_sheet
from amd.evaluation.corruptions import FRAME_GAP, NORMAL, Version, versions
from amd.evaluation.metrics import class_ious, confusion
from amd.evaluation.published import note
from amd.evaluation.vos import AS_GIVEN, LABEL_FREE
from amd.models.amd import AMD
from amd.models.checkpoint import object_segment
from amd.models.inference import object_mask, soft_masks
from amd.models.loading import open_as
from amd.runtime.ahead import map_ahead
from amd.runtime.errors import UserError
from amd.runtime.files import write_json
from amd.runtime.progress import progress

MEASURES = tuple(
    f"{side}_{measure}" for measure in ("iou", "accuracy") for side in ("foreground", "background", "mean")
)

YOUTUBE_VALIDATION = 474  # sequences
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

Masks: TypeAlias = Callable[[Sequence, BenchmarkFrame, np.ndarray], np.ndarray]  # and the image H,W,3; bool H,W


def rates(counts: np.ndarray) -> dict[str, float | None]:
    """The six numbers of MEASURES of a confusion matrix of background and foreground.

    None where the truth has no such pixel, and nothing was claimed.
    """
    accuracies = [float(hits / all_) if all_ else None for hits, all_ in zip(counts.diagonal(), counts.sum(1))]
    numbers: list[float | None] = []
    for background, foreground in (class_ious(counts), accuracies):
        mean = None if foreground is None or background is None else (foreground + background) / 2
        numbers += [foreground, background, mean]
    return dict(zip(MEASURES, numbers, strict=True))


def score_robustness(made: list[Version], masks_of: Callable[[str], Masks], threads: int = 1) -> dict:
    """{"protocol", "published", "scores": {version: numbers of MEASURES}}, pooled; `masks_of` a version's name.

    Frames are worked at in `threads` threads. Raises UserError for a truth of another size than its frame, or when no
    frame is annotated.
    """
    if not any(sequence.scored_frames for sequence in made[0].sequences):
        folder = made[0].sequences[0].frames[0].image.parent
        raise UserError(f"{folder}: no annotated frame counts there; nothing to score")
    return {
        "protocol": _protocol(made),
        "published": PUBLISHED | note(_is_published(made[0].sequences), made[0].sequences[0].dataset),
        "scores": {version.name: rates(_counts(version, masks_of(version.name), threads)) for version in made},
    }


def _is_published(sequences: list[Sequence]) -> bool:
    """Whether the published numbers are of these: the validation set of YouTube-VOS 2018."""
    return sequences[0].dataset == "youtubevos" and len(sequences) == YOUTUBE_VALIDATION


def model_masks(uri: str) -> Masks:
    """The object segment's masks of a model (see amd.models.loading); UserError when it has none."""
    model, info = open_as(AMD, uri, "auto")
    chosen = object_segment(info)
    mask = lambda image: object_mask(soft_masks(model, torch.from_numpy(image), info.short_edge), chosen).cpu().numpy()
    return lambda sequence, frame, image: mask(image)


def saved_masks(folder: Path) -> Masks:
    """The masks <sequence>/<frame>.png of a folder."""
    return lambda sequence, frame, image: read_prediction(
        prediction_path(folder, sequence.name, frame.name), image.shape[:2]
    )


def saved_versions(made: list[Version], folder: Path) -> list[Version]:
    """Those versions that `folder` has masks of, in <version>/<sequence>/<frame>.png, checked to be complete.

    Raises UserError for a folder without any, with others, or with incomplete ones.
    """
    known = {version.name: version for version in made}
    found = visible_names(folder)
    if unknown := [name for name in found if name not in known]:
        raise UserError(f"{folder / unknown[0]}: not a version of the frames; there are {', '.join(known)}")
    if not found:
        raise UserError(f"{folder}: no masks in it; give folders {', '.join(known)} of <sequence>/<frame>.png")
    for name in found:
        check_predictions(known[name].sequences, folder / name)
    return [version for version in made if version.name in found]


def run_robustness(
    dataset: str,
    root: Path,
    strengths: Robustness,
    *,
    with_further: bool = True,
    model: str | None = None,
    predictions: Path | None = None,
    json_path: Path | None = None,
    pictures: Path | None = None,
) -> dict:
    """Score a model, or saved masks, on a benchmark as it is and corrupted.

    Prints the table, writes the JSON and a picture of every sequence where wanted, and gives the report.
    """
    made = versions(open_benchmark(dataset, root), strengths, with_further or predictions is not None)
    if predictions is None:
        segment = model_masks(cast(str, model))
        masks_of, origin = lambda name: segment, {"model": cast(str, model)} | LABEL_FREE
    else:
        made = saved_versions(made, predictions)
        masks_of, origin = lambda name: saved_masks(predictions / name), {"masks": str(predictions)} | AS_GIVEN
    report = score_robustness(made, masks_of)
    report["protocol"] |= origin | {"strengths": strengths.model_dump()}
    print(format_robustness(report))
    if json_path:
        write_json(json_path, report)
    if pictures:
        for sequence in made[0].sequences:
            write_corruption_sheet(pictures / f"{sequence.name}.png", [sequence], made, masks_of)
    return report


def format_robustness(report: dict) -> str:
    """The table: a line per measure, a column per version of the frames; the published numbers below."""
    published = report["published"]
    lines = [*_table(report["scores"]), "", f"published ({published['dataset']}):", *_table(published["scores"])]
    lines += [published["note"], ""] if "note" in published else [""]
    return "\n".join(lines + [f"{key}: {value}" for key, value in report["protocol"].items()])


def _counts(version: Version, masks: Masks, threads: int) -> np.ndarray:
    """The confusion matrix of background and foreground, pooled over the frames."""

    def counted(of: tuple[Sequence, BenchmarkFrame]) -> np.ndarray:
        image, truth = version.read(of[1])
        return confusion(masks(*of, image).astype(np.uint8), truth.astype(np.uint8), 2)

    pooled = np.zeros((2, 2), np.int64)
    for counts in map_ahead(counted, progress(list(version.frames()), version.name, unit="frames"), threads):
        pooled += counts
    return pooled


def _protocol(made: list[Version]) -> dict:
    sequences = made[0].sequences
    return {
        "dataset": sequences[0].dataset,
        "sequences": len(sequences),
        "frames_scored": sum(1 for _ in made[0].frames()),
        "left_out": LEFT_OUT.get(sequences[0].dataset, "none"),
        "averaging": "pooled over all pixels of all frames",
        "measures": "intersection over union, and accuracy: intersection over ground truth; annotated objects merged",
        "truth": "the annotation of the frame as it is, also behind the bar and after blurs",
    }


def _table(scores: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    lines = [f"{'%':20}" + "".join(f"{name:>12}" for name in scores)]
    for measure in MEASURES:
        values = [numbers[measure] for numbers in scores.values()]
        cells = [f"{'-':>12}" if value is None else f"{100 * value:12.2f}" for value in values]
        lines.append(f"{measure.replace('_', ' '):20}" + "".join(cells))
    return lines


def write_corruption_sheet(
    path: Path, sequences: list[Sequence], made: list[Version], masks_of: Callable[[str], Masks]
) -> None:
    """A PNG: of each of `sequences` the middle scored frame in every version, and below it its mask.

    A frame gap is left out: its frames look like the others. So is a sequence without a frame that counts.
    """
    shown = [version for version in made if version.name != FRAME_GAP]
    rows = []
    for sequence in sequences:
        if sequence.scored_frames:
            pairs = [_pictures(version, sequence, masks_of(version.name)) for version in shown]
            rows += [list(row) for row in zip(*pairs, strict=True)]
    write_sheet(path, [version.name.replace("_", " ") for version in shown], rows)


def _pictures(version: Version, sequence: Sequence, masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    """The middle frame, and the frame with its mask."""
    frame = sequence.scored_frames[len(sequence.scored_frames) // 2]
    image, _ = version.read(frame)
    return image, draw_mask(image, masks(sequence, frame, image))
