"""The experiments of Instance Embedding Transfer on a benchmark (sections 4.3 to 4.5, A.2 and A.3).

Input: sequences, features, the method's settings. Output: {"protocol", "published", "mean", "sequences"} with J, and
where the paper has it F, by variant; the mean is over sequences. Masks are refined by the CRF where a variant says so;
the paper's ablations are not.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from amd.config import Crf, Transfer
from amd.data.benchmarks.davis import LEFT_OUT, Sequence
from amd.data.benchmarks.sequences import read_truth
from amd.evaluation.embedding_drift import STEPS, annotated_points, drift_of, relative_curves
from amd.evaluation.metrics import mean_over
from amd.evaluation.published import PUBLISHED, transfer_note
from amd.evaluation.transfer_videos import DescribedSequence, Describer, looked_at, semantic_features
from amd.runtime.progress import progress
from amd.transfer.crf import refine
from amd.transfer.semi_supervised import segment_annotated
from amd.transfer.video import choose_foreground

INTERVALS = {"1": 1, "5": 5, "10": 10, "20": 20, "40": 40, "never": 0}  # frames between adaptations, by name
RANKINGS = ("motion", "objectness", "both")
CUES = {
    "evidence": "motion evidence and single images together (packaged, no labels), as objectness and as saliency",
    "flow": "objectness of the features' network; dense inverse search (OpenCV, medium)",
}
TRUTH = {"annotated": "the first frame's annotation", "drift": "the annotation says which points are foreground"}

Scores: TypeAlias = dict[str, dict[str, Any]]  # measures by variant


def compare_crf(video: DescribedSequence, settings: Transfer, crf: Crf) -> Scores:
    """J and F as they are and refined (tables 1, 6 and 7)."""
    return plain_and_refined(video, [result.probability for result in video.segment(plain(settings), crf)], crf)


def compare_intervals(video: DescribedSequence, settings: Transfer, crf: Crf) -> Scores:
    """J when the seeds are renewed every k frames (table 3)."""
    changed = {name: settings.model_copy(update={"adapt_every": k}) for name, k in INTERVALS.items()}
    return {name: region(video, variant, crf) for name, variant in changed.items()}


def compare_rankings(video: DescribedSequence, settings: Transfer, crf: Crf) -> Scores:
    """J, and the share of frames whose foreground seed lies on the object, by what ranks the tracks (table 4)."""
    changed = {name: settings.model_copy(update={"ranking": name}) for name in RANKINGS}
    return {
        name: {"seed_accuracy": seed_accuracy(video, variant)} | region(video, variant, crf)
        for name, variant in changed.items()
    }


def follow_annotation(video: DescribedSequence, settings: Transfer, crf: Crf) -> Scores:
    """J and F of the semi-supervised mode, as they are and refined (table 5)."""
    results = segment_annotated(video.frames(), video.first_truth(), plain(settings), crf)
    return plain_and_refined(video, [result.probability for result in results], crf)


def follow_drift(video: DescribedSequence, settings: Transfer, crf: Crf) -> Scores:
    """Measures of amd.evaluation.embedding_drift over relative time (figures 6 and 8)."""
    video.first_truth()
    last = max(1, len(video.seeds) - 1)
    points = (
        (number / last, annotated_points(features.embedding, read_truth(frame)))
        for number, (frame, features) in enumerate(zip(video.sequence.frames, video.frames(), strict=True))
        if frame.truth is not None
    )
    first = next(points)
    measures = [(0.0, drift_of(first[1], first[1])), *((time, drift_of(first[1], sides)) for time, sides in points)]
    return {name: _by_step(curve) for name, curve in relative_curves(measures).items()}


EXPERIMENTS: dict[str, Callable[[DescribedSequence, Transfer, Crf], Scores]] = {
    "crf": compare_crf,
    "intervals": compare_intervals,
    "rankings": compare_rankings,
    "annotated": follow_annotation,
    "drift": follow_drift,
}


def run_experiments(
    names: list[str], sequences: list[Sequence], features: Describer, settings: Transfer, crf: Crf
) -> dict[str, dict]:
    """The reports of experiments `names` (keys of EXPERIMENTS), by name; each sequence is looked at once."""
    scores: dict[str, Scores] = {name: {} for name in names}
    for sequence in progress(sequences, "experiments", unit="sequences"):
        with looked_at(sequence, features, settings) as video:
            for name in names:
                scores[name][sequence.name] = EXPERIMENTS[name](video, settings, crf)
    told = partial(report, sequences=sequences, supervision=features.supervision, settings=settings, crf=crf)
    return {name: told(name, scores[name]) for name in names}


def compare_features(sequences: list[Sequence], kinds: Mapping[str, Describer], settings: Transfer, crf: Crf) -> dict:
    """The report of J with the features of each of `kinds` in the embedding's place (section 4.4)."""
    scores: Scores = {sequence.name: {} for sequence in sequences}
    for kind, features in kinds.items():
        for sequence in progress(sequences, f"{kind} features", unit="sequences"):
            with looked_at(sequence, features, settings) as video:
                scores[sequence.name][kind] = region(video, settings, crf)
    supervision = {kind: features.supervision for kind, features in kinds.items()}
    return report("features", scores, sequences, supervision, settings, crf)


def with_semantic(embedding: Describer) -> dict[str, Describer]:
    """The two kinds that the paper compares."""
    return {"embedding": embedding, "semantic": semantic_features(embedding)}


def plain(settings: Transfer) -> Transfer:
    """Settings without the CRF."""
    return settings.model_copy(update={"crf": False})


def region(video: DescribedSequence, settings: Transfer, crf: Crf) -> dict[str, float]:
    """J of the masks without CRF."""
    return {"J": video.score(result.mask for result in video.segment(plain(settings), crf))["J"]}


def plain_and_refined(video: DescribedSequence, probabilities: list[np.ndarray], crf: Crf) -> Scores:
    """J and F of the masks of `probabilities`, and of those after the CRF."""
    refined = (refine(values, frame.image, crf) for values, frame in zip(probabilities, video.frames(), strict=True))
    return {
        "plain": video.score(values > 0.5 for values in probabilities),
        "crf": video.score(values > 0.5 for values in refined),
    }


def seed_accuracy(video: DescribedSequence, settings: Transfer) -> float:
    """The share of counted frames whose foreground seed lies on the annotated object; none does without a seed."""
    chosen = choose_foreground(video.seeds, settings)
    if chosen is None:
        return 0.0
    hits = [
        _on_object(int(seeds.points[number]), seeds.regions.shape, read_truth(frame))
        for frame, seeds, number in zip(video.sequence.frames, video.seeds, chosen, strict=True)
        if frame in video.counted
    ]
    return float(np.mean(hits))


def report(
    name: str, scores: Scores, sequences: list[Sequence], supervision: Any, settings: Transfer, crf: Crf
) -> dict[str, Any]:
    """Scores by sequence with their mean, the protocol and the paper's numbers."""
    return {
        "protocol": {
            "dataset": sequences[0].dataset,
            "sequences": len(sequences),
            "frames_scored": sum(len(sequence.scored_frames) for sequence in sequences),
            "left_out": LEFT_OUT.get(sequences[0].dataset, "none"),
            "averaging": "mean over sequences of the mean over their frames",
            "cues": CUES[settings.cues],
            "supervision_of_features": supervision,
            "supervision_beside": TRUTH.get(name, "none"),
            "transfer": settings.model_dump(),
            "crf": crf.model_dump(),
        },
        "published": PUBLISHED[name] | transfer_note(name, sequences),
        "mean": mean_over(list(scores.values())),
        "sequences": scores,
    }


def format_report(name: str, told: dict[str, Any]) -> str:
    """The mean and the published numbers as text: a line per variant, a column per measure."""
    lines = [f"{name}: {told['protocol']['sequences']} sequences of {told['protocol']['dataset']}"]
    for variant, scores in told["mean"].items():
        published = told["published"].get(variant, {})
        cells = (f"{key} {_shown(value)} (paper {_shown(published.get(key))})" for key, value in scores.items())
        lines.append(f"  {variant:20}" + "  ".join(cells if name != "drift" else map(_shown, scores.values())))
    told_note = [f"  {told['published']['note']}"] if "note" in told["published"] else []
    return "\n".join([*lines, f"  paper: {told['published']['source']}", *told_note])


def _on_object(point: int, grid: tuple[int, int], truth: np.ndarray) -> bool:
    """Whether the middle of a grid point's cell lies on the object."""
    row, column = (
        (place + 0.5) * edge / cells for place, edge, cells in zip(divmod(point, grid[1]), truth.shape, grid)
    )
    return bool(truth[int(row), int(column)])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _by_step(curve: np.ndarray) -> dict[str, float | None]:
    """A curve's values by relative time; None where nothing is known."""
    return {f"{step:.2f}": None if np.isnan(value) else float(value) for step, value in zip(STEPS, curve, strict=True)}
