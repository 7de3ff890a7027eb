"""Stage evaluate_semantic: every fine-tuned model scored on the validation images.

Input: models/semantic/<name>/, params.semantic. Output: metrics/semantic*. Seeds of one start and augmentation stand
together, with their mean and standard deviation.
"""

from pathlib import Path
from typing import Any

import numpy as np

from amd.config import Params
from amd.data.benchmarks.image_sets import voc2012
from amd.data.benchmarks.instances import class_names
from amd.evaluation.semantic import LabelsOf, fine_tuned, network_labels, score_semantic
from amd.evaluation.semantic_figure import write_semantic_scores, write_semantic_sheet
from amd.models.loading import open_as
from amd.models.semantic import SCRATCH, SemanticNetwork
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from stages import run_stage
from stages.semantic import MODEL, MODELS, NO_DATASET
from stages.skipping import skip

REPORT, PICTURES, FIGURE = (Path("metrics", name) for name in ("semantic.json", "semantic.png", "semantic_scores.png"))


def main(params: Params, run: Run) -> None:
    """Score what params.yaml lists, and draw it."""
    root = params.semantic.root
    if root is None:
        skip("evaluate_semantic", NO_DATASET, REPORT, (PICTURES, FIGURE))
        return
    frames, names = voc2012(root), ["background", *class_names([Path(root)])]
    runs: dict[str, dict[str, Any]] = {}
    first: dict[str, LabelsOf] = {}  # of every group
    groups: dict[str, list[float]] = {}
    for name, group in fine_tunings(params).items():
        network, info = open_as(SemanticNetwork, MODELS / name / MODEL)
        labels_of = network_labels(network, info, names)
        runs[name] = score_semantic(frames, labels_of, names, fine_tuned(info))
        run.metrics({f"mIoU_{name}": runs[name]["mIoU"], f"accuracy_{name}": runs[name]["pixel_accuracy"]})
        groups.setdefault(group, []).append(runs[name]["mIoU"])
        first.setdefault(group, labels_of)
    write_json(REPORT, report(runs, groups))
    write_semantic_sheet(PICTURES, frames, first, len(names))
    write_semantic_scores(FIGURE, groups)
    run.artifact(REPORT, PICTURES, FIGURE)


def report(runs: dict[str, dict[str, Any]], groups: dict[str, list[float]]) -> dict[str, Any]:
    """What metrics/semantic.json holds, and a line per group on the terminal."""
    some = next(iter(runs.values()))
    summary = {group: spread(values) for group, values in groups.items()}
    for group, values in summary.items():
        print(f"semantic: {group} mIoU {values['mean']:.3f}, deviation {values['deviation']}, {values['seeds']} seeds")
    told = {"predictions": {name: run["protocol"]["predictions"] for name, run in runs.items()}}
    kept = ("mIoU", "classes_scored", "pixel_accuracy")
    ious = lambda name: {run: scores["classes"][name]["IoU"] for run, scores in runs.items()}
    return {
        "protocol": some["protocol"] | told,
        "published": some["published"],
        "mIoU": summary,
        "runs": {name: {key: run[key] for key in kept} for name, run in runs.items()},
        "IoU_per_class": {name: ious(name) for name in some["classes"]},
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Mean and sample standard deviation over seeds; None for the latter with one seed."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "deviation": deviation, "seeds": len(values)}


def fine_tunings(params: Params) -> dict[str, str]:
    """Every fine-tuning's name, with its start and augmentation."""
    settings = params.semantic
    groups = [
        f"{start}-{augmentation}"
        for start in (SCRATCH, *(entry.name for entry in settings.starts))
        for augmentation in settings.augmentations
    ]
    return {f"{group}-{seed}": group for group in groups for seed in settings.seeds}


if __name__ == "__main__":
    run_stage("evaluate_semantic", main)
