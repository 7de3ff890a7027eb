"""Scores of video object segmentation.

Input: a benchmark and predicted masks. Output: J and F with their protocol.

J and F have mean, recall and decay per sequence (see amd.evaluation.metrics); the headline is the mean over
sequences. A model's masks are scored twice: with the object segment chosen without labels (paper 3.5), and
with the oracle's, the one segment that fits the dataset's truth best. That one is an upper bound, no result.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from amd.data.benchmarks.davis import LEFT_OUT, BenchmarkFrame, Sequence, open_benchmark
from amd.data.benchmarks.predictions import (
    check_predictions,
    masks_folder,
    place_of_masks,
    prediction_path,
    read_prediction,
    read_segments,
    segments_folder,
)
from amd.data.benchmarks.sequences import read_truth
from amd.evaluation.baselines import BASELINES, baseline_mask
from amd.evaluation.metrics import Statistics, boundary_f, jaccard, mean_over, statistics
from amd.evaluation.published import COMPARED, FULL, published_vos
from amd.runtime.errors import UserError
from amd.runtime.files import write_json
from amd.runtime.progress import progress

# How the masks came to be, as far as the scorer knows: the part of the protocol beside the counting.
AS_GIVEN = {
    "object": "masks as given",
    "threshold": "none: masks are 0 or 255",
    "post_processing": "none",
    "supervision": "none in scoring; how the masks were made is not known here",
}
LABEL_FREE = {
    "object": "label-free: the segment chosen on training videos without labels",
    "threshold": "none: each pixel belongs to its most probable segment",
    "post_processing": "none",
    "supervision": "none",
}
MOVES = {
    "object": "label-free: what moves on its own, by motion evidence that learned on layered clips",
    "threshold": "0.5",
    "post_processing": "none of evidence alone; of fused masks a CRF and a refusal where nothing is sure",
    "supervision": "none; the model joined is adapted to the very video, without labels",
}
ORACLE = LABEL_FREE | {"object": "oracle: the segment with the best J on this dataset's truth"}


MaskOf = Callable[[Sequence, BenchmarkFrame, tuple[int, int]], np.ndarray]


class FrameScore(NamedTuple):
    """One frame's measures, the pixel counts that pooled J is made of, and the pixels of the object."""

    j: float
    f: float
    intersection: int
    union: int
    wanted: int


def score_masks(sequences: list[Sequence], predictions: Path, origin: dict[str, str] = AS_GIVEN) -> dict:
    """Score a folder of `<sequence>/<frame>.png` masks, or what `amd segment` wrote of the sequences' frames.

    Returns {"protocol", "mean": {"J": {"mean", "recall", "decay"}, "F": {…}}, "averages", "sequences":
    {NAME: {"J": {…}, "F": {…}}}}. `origin` is the protocol's word on how the masks were made. Raises
    UserError for predictions that are missing, stray, of a wrong size, or not 0 and 255, and for a sequence whose
    truth is empty in every frame that counts.
    """
    inner = place_of_masks(predictions)
    check_predictions(sequences, predictions, inner)
    return _score(sequences, _reader(predictions, read_prediction, inner), origin)


def oracle_segment(sequences: list[Sequence], segments: Path, segments_count: int) -> int:
    """The segment of a folder of label maps whose J, mean over sequences, is best on the truth."""
    check_predictions(sequences, segments)

    def measure(sequence: Sequence, frame: BenchmarkFrame, truth: np.ndarray) -> np.ndarray:
        path = prediction_path(segments, sequence.name, frame.name)
        return _segment_jaccards(read_segments(path, truth.shape, segments_count), truth, segments_count)

    frames = _measure_frames(sequences, measure, "oracle")
    return int(np.mean([np.mean(values, axis=0) for values in frames.values()], axis=0).argmax())


def score_prediction(sequences: list[Sequence], folder: Path, segments_count: int) -> dict[str, dict]:
    """Score a model's `masks` and `segments` under `folder`: {"label-free": scores, "oracle": scores}.

    The oracle's scores name their "segment".
    """
    dataset = sequences[0].dataset
    label_free = score_masks(sequences, masks_folder(folder, dataset), LABEL_FREE)
    segments = segments_folder(folder, dataset)
    best = oracle_segment(sequences, segments, segments_count)

    def read(path: Path, size: tuple[int, int]) -> np.ndarray:
        return read_segments(path, size, segments_count) == best

    return {"label-free": label_free, "oracle": {"segment": best} | _score(sequences, _reader(segments, read), ORACLE)}


def score_run(sequences: list[Sequence], folders: dict[str, Path], segments_count: int) -> tuple[dict, list[dict]]:
    """Score every kind of prediction of a run: {"image": folder, "adapted": folder}.

    Returns the report ({"summary": headline numbers, "scores": {PREDICTION: see score_prediction}}) and
    the rows of amd.data.tables.SCORES; label-free comes before the oracle in both.
    """
    scores = {name: score_prediction(sequences, folder, segments_count) for name, folder in folders.items()}
    summary = {name: _summary(choices) for name, choices in scores.items()}
    rows = [
        row
        for name, choices in scores.items()
        for choice, result in choices.items()
        for row in _rows(sequences, name, choice, result)
    ]
    return {"summary": summary, "scores": scores}, rows


def score_baselines(sequences: list[Sequence]) -> tuple[dict[str, dict], list[dict]]:
    """Score the rows without learning on the same frames: {NAME: scores}, and rows of amd.data.tables.SCORES."""
    results = {}
    for name, words in BASELINES.items():
        origin = AS_GIVEN | {"object": words, "supervision": "none"}
        results[name] = _score(sequences, partial(baseline_mask, name), origin)
    rows = [row for name, result in results.items() for row in _rows(sequences, name, "none", result)]
    return results, rows


def score_moving(sequences: list[Sequence], folders: dict[str, Path]) -> tuple[dict[str, dict], list[dict]]:
    """Score masks of what moves, which no model chose: {NAME: scores}, and rows of amd.data.tables.SCORES."""
    results = {name: score_masks(sequences, folder, MOVES) for name, folder in folders.items()}
    rows = [row for name, result in results.items() for row in _rows(sequences, name, "label-free", result)]
    return results, rows


def _score(sequences: list[Sequence], mask_of: MaskOf, origin: dict[str, str]) -> dict:
    """Scores of the masks `mask_of(sequence, frame, size)`."""
    frames = _measure_frames(sequences, partial(_score_frame, mask_of), "scores")
    _require_objects(sequences, frames)
    summed = lambda scores: statistics(list(scores))._asdict()
    per_sequence = {
        name: {"J": summed(score.j for score in values), "F": summed(score.f for score in values)}
        for name, values in frames.items()
    }
    mean = mean_over(list(per_sequence.values()))
    averages = _averages(mean, [score for values in frames.values() for score in values])
    protocol = _protocol(sequences) | origin
    return {"protocol": protocol, "mean": mean, "averages": averages, "sequences": per_sequence}


def _reader(folder: Path, read: Callable[[Path, tuple[int, int]], np.ndarray], inner: str = "") -> MaskOf:
    """Masks that `read` makes of the files in `folder`."""
    return lambda sequence, frame, size: read(prediction_path(folder, f"{sequence.name}/{inner}", frame.name), size)


def _measure_frames(
    sequences: list[Sequence], measure: Callable[[Sequence, BenchmarkFrame, np.ndarray], Any], label: str
) -> dict[str, list]:
    """`measure(sequence, frame, truth)` of every scored frame, by sequence.

    Frame by frame in one thread: at 5 ms a frame of 480p, OpenCV's own threads are all that pays.
    """
    tasks = [(sequence, frame) for sequence in sequences for frame in _scored_frames(sequence)]
    results: dict[str, list] = {sequence.name: [] for sequence in sequences}
    for sequence, frame in progress(tasks, label, unit="frames"):
        results[sequence.name].append(measure(sequence, frame, read_truth(frame)))
    return results


def _scored_frames(sequence: Sequence) -> tuple[BenchmarkFrame, ...]:
    if not sequence.scored_frames:
        raise UserError(
            f"{sequence.frames[0].image.parent}: sequence {sequence.name} has no frame to score: none is "
            f"annotated beside those left out ({LEFT_OUT.get(sequence.dataset, 'none')})"
        )
    return sequence.scored_frames


def _require_objects(sequences: list[Sequence], frames: dict[str, list[FrameScore]]) -> None:
    """UserError for a sequence without object: its J would only say whether masks are empty too."""
    for sequence in sequences:
        if not any(score.wanted for score in frames[sequence.name]):
            folder = cast(Path, sequence.scored_frames[0].truth).parent
            way = f"complete the copy, or leave {sequence.name} out"
            raise UserError(f"{folder}: no object in any annotation that counts; {way}")


def _score_frame(mask_of: MaskOf, sequence: Sequence, frame: BenchmarkFrame, truth: np.ndarray) -> FrameScore:
    mask = mask_of(sequence, frame, truth.shape)
    counts = (int(np.count_nonzero(area)) for area in (mask & truth, mask | truth, truth))
    return FrameScore(jaccard(mask, truth), boundary_f(mask, truth), *counts)


def _segment_jaccards(labels: np.ndarray, truth: np.ndarray, segments_count: int) -> np.ndarray:
    """J of each segment of a label map H,W as if it were the object: float64, `segments_count` long."""
    areas = np.bincount(labels.ravel(), minlength=segments_count)
    intersections = np.bincount(labels[truth], minlength=segments_count)
    unions = areas + np.count_nonzero(truth) - intersections
    return np.where(unions > 0, intersections / np.maximum(unions, 1), 1.0)


def _averages(mean: dict, frames: list[FrameScore]) -> dict:
    """The three averages that papers use: over sequences, over frames, over pooled pixels."""
    union = sum(score.union for score in frames)
    j, f = (float(np.mean(values)) for values in zip(*((score.j, score.f) for score in frames), strict=True))
    return {
        "sequences": {"J": mean["J"]["mean"], "F": mean["F"]["mean"]},
        "frames": {"J": j, "F": f},
        "pooled": {"J": sum(score.intersection for score in frames) / union if union else 1.0},
    }


def _protocol(sequences: list[Sequence]) -> dict:
    annotated = sum(frame.truth is not None for sequence in sequences for frame in sequence.frames)
    scored = sum(len(sequence.scored_frames) for sequence in sequences)
    return {
        "dataset": sequences[0].dataset,
        "sequences": len(sequences),
        "frames_scored": scored,
        "frames_left_out": annotated - scored,
        "left_out": LEFT_OUT.get(sequences[0].dataset, "none"),
        "averaging": "mean over sequences of the mean over their frames",
        "compared": COMPARED.get(sequences[0].dataset, "sequences"),
        "measures": "J region, F boundary (0.008 of the diagonal); recall above 0.5, decay first minus last quarter",
    }


def _summary(choices: dict[str, dict]) -> dict:
    headline = {
        f"{choice.replace('-', '_')}_{measure}": scores["mean"][measure]["mean"]
        for choice, scores in choices.items()
        for measure in "JF"
    }
    return headline | {"oracle_segment": choices["oracle"]["segment"]}


def _rows(sequences: list[Sequence], prediction: str, choice: str, scores: dict) -> list[dict]:
    rows = []
    for sequence in sequences:
        row: dict[str, Any] = {"dataset": sequence.dataset, "sequence": sequence.name, "prediction": prediction}
        row |= {"choice": choice, "segment": scores.get("segment"), "frames": len(sequence.scored_frames)}
        for measure, values in scores["sequences"][sequence.name].items():
            row |= {f"{measure}_{key}": value for key, value in values.items()}
        rows.append(row)
    return rows


def run_score(dataset: str, root: Path, predictions: Path, json_path: Path | None) -> None:
    """Score masks that anything produced; print the table, write the JSON when `json_path` is given."""
    sequences = open_benchmark(dataset, root)
    scores = score_masks(sequences, Path(predictions))
    scores["baselines"] = score_baselines(sequences)[0]
    scores["published"] = published_vos(sequences)
    print(format_scores(scores))
    if json_path:
        write_json(json_path, scores)


def format_scores(scores: dict) -> str:
    """The scores of `score_masks` as text: a line per sequence, the mean, the protocol."""
    width = max(len(name) for name in [*scores["sequences"], *scores.get("baselines", {}), "sequence"])
    heads = [f"{measure} {key}" for measure in "JF" for key in Statistics._fields]
    lines = [f"{'sequence':{width}}" + "".join(f"{head:>10}" for head in heads)]
    for name, measures in [*scores["sequences"].items(), ("mean", scores["mean"])]:
        numbers = [measures[measure][key] for measure in "JF" for key in Statistics._fields]
        lines.append(f"{name:{width}}" + "".join(f"{number:10.3f}" for number in numbers))
    for name, result in scores.get("baselines", {}).items():
        numbers = [result["mean"][measure][key] for measure in "JF" for key in Statistics._fields]
        below = scores["mean"]["J"]["mean"] < result["mean"]["J"]["mean"]
        note = "  the masks score below this row, which learns nothing" if below else ""
        lines.append(f"{name:{width}}" + "".join(f"{number:10.3f}" for number in numbers) + note)
    lines += _average_lines(scores)
    if known := scores.get("published"):
        rows = ", ".join(f"{method} {j:.3f}" for method, j in known["J"].items())
        lines.append(f"{FULL} ({known['size']}), J over {known['average']}: {rows}")
        lines += [known["note"]] if "note" in known else []
    return "\n".join(lines + [f"{key}: {value}" for key, value in scores["protocol"].items()])


def _average_lines(scores: dict) -> list[str]:
    """The three averages side by side, of the masks and of the rows without learning."""
    rows = {"masks": scores["averages"]} | {
        name: result["averages"] for name, result in scores.get("baselines", {}).items()
    }
    width = max(len("over"), *(len(name) for name in rows))
    lines = ["", f"{'over':{width}}" + "".join(f"{head:>12}" for head in ("sequences", "frames", "pooled"))]
    for name, averages in rows.items():
        cells = "".join(f"{averages[kind]['J']:12.3f}" for kind in ("sequences", "frames", "pooled"))
        lines.append(f"{name:{width}}{cells}")
    return [*lines, f"J compared with the literature's: over {scores['protocol']['compared']}", ""]
