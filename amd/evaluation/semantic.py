"""Semantic segmentation scored.

Input: images with labels and predicted labels. Output: mIoU with its protocol.

The confusion matrix is pooled over all labelled pixels of all images; IoU of a class is hits / (hits + misses + false
alarms). A class that is neither in the truth nor predicted has no IoU and is left out of the mean; one that is
predicted but not in the truth has IoU 0. Predictions on disk are <image>.png, a label per pixel.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from amd.data.benchmarks.image_sets import voc2012
from amd.data.benchmarks.instances import class_names
from amd.data.benchmarks.predictions import require_frame_size, size_error
from amd.data.benchmarks.sequences import BenchmarkFrame
from amd.data.benchmarks.voc import WHOLE, read_classes
from amd.data.images import read_image, read_labels
from amd.evaluation.metrics import class_ious, confusion
from amd.evaluation.published import FULL, note
from amd.models.inference import label_map, soft_masks
from amd.models.loading import open_as
from amd.models.precision import choose_device
from amd.models.semantic import SemanticInfo, SemanticNetwork
from amd.runtime.errors import UserError
from amd.runtime.files import write_json
from amd.runtime.progress import progress

# The paper's table 2: ResNet-50, 10,582 images to train on. Its column of augmentations is most likely pretraining's.
PUBLISHED = {
    "source": "the paper's table 2: all 1,449 images of VOC 2012 val",
    "mIoU": {
        "scratch": {"light": 0.480, "heavy": None},
        "AMD": {"light": 0.620, "heavy": 0.621},
        "TimeCycle": {"light": 0.528, "heavy": None},
        "MoCo-v2": {"light": 0.615, "heavy": 0.628},
        "MoCo-v2 on ImageNet": {"light": None, "heavy": 0.724},
    },
}

VOC_VALIDATION = 1449  # images
LabelsOf = Callable[[BenchmarkFrame], np.ndarray]  # uint8 H,W


def score_semantic(frames: list[BenchmarkFrame], labels_of: LabelsOf, names: list[str], origin: str) -> dict[str, Any]:
    """Score `labels_of(frame)` of every image against classes `names`, background first.

    Returns {"protocol", "published", "mIoU", "classes_scored", "pixel_accuracy", "classes": {NAME: {"IoU", "pixels"}}}.
    Raises UserError for a prediction of another size or with a value that is no class, and when no image has a
    labelled pixel.
    """
    counts = np.zeros((len(names), len(names)), np.int64)
    for frame in progress(frames, "semantic", unit="images"):
        truth = read_classes(frame, len(names))
        counts += confusion(_checked(labels_of(frame), truth, frame, len(names)), truth, len(names))
    if not counts.any():
        folder = cast(Path, frames[0].truth).parent
        raise UserError(f"{folder}: all {len(frames)} images are void everywhere; nothing to score")
    ious = class_ious(counts)
    there = [iou for iou in ious if iou is not None]
    return {
        "protocol": _protocol(len(frames), len(names), origin),
        "published": PUBLISHED | note(len(frames) == VOC_VALIDATION, f"{len(frames)} images"),
        "mIoU": float(np.mean(there)),
        "classes_scored": len(there),
        "pixel_accuracy": float(counts.trace() / counts.sum()),
        "classes": {
            name: {"IoU": iou, "pixels": int(pixels)}
            for name, iou, pixels in zip(names, ious, counts.sum(1), strict=True)
        },
    }


def network_labels(network: SemanticNetwork, info: SemanticInfo, names: list[str]) -> LabelsOf:
    """The most probable class of every pixel, of images resized as the model asks for.

    UserError when its classes are not `names`.
    """
    if list(info.architecture.classes) != names:
        raise UserError(f"a model of other classes ({', '.join(info.architecture.classes[:4])}, …) than the dataset's")
    network.to(choose_device())

    def labels_of(frame: BenchmarkFrame) -> np.ndarray:
        image = torch.from_numpy(read_image(frame.image))
        return label_map(soft_masks(network, image, info.short_edge)).cpu().numpy()

    return labels_of


def saved_labels(folder: Path) -> LabelsOf:
    """Labels that anything produced; a missing file is a UserError that names it."""

    def labels_of(frame: BenchmarkFrame) -> np.ndarray:
        path = Path(folder) / f"{frame.name}.png"
        labels = read_labels(path)
        require_frame_size(frame, path, labels.shape)
        return labels

    return labels_of


def run_semantic(
    root: Path, split: str, model: str | None, predictions: Path | None, json_path: Path | None, pictures: Path | None
) -> None:
    """Score a model or saved labels on a split, print the table, write what is asked for."""
    frames = voc2012(root, split)
    names = ["background", *class_names([root])]
    if model is None:
        labels_of, origin = saved_labels(cast(Path, predictions)), "as given"
    else:
        network, info = open_as(SemanticNetwork, model)
        labels_of, origin = network_labels(network, info, names), fine_tuned(info)
    scores = score_semantic(frames, labels_of, names, origin)
    scores["protocol"] = {"dataset": str(root), "split": split} | scores["protocol"]
    print(format_semantic(scores))
    if json_path:
        write_json(json_path, scores)
    if pictures:
        from amd.evaluation.semantic_figure import write_semantic_sheet  # matplotlib takes a second to import

        write_semantic_sheet(pictures, frames, {"predicted": labels_of}, len(names))


def fine_tuned(info: SemanticInfo) -> str:
    """How a model's labels came to be, for the protocol."""
    return (
        f"fine-tuned on {info.images} labelled images, start {info.start}, {info.augmentation} augmentation, seed "
        f"{info.seed}; most probable class, whole image at short edge {info.short_edge}, one scale"
    )


def format_semantic(scores: dict[str, Any]) -> str:
    """mIoU and accuracy, a line per class that is there, what was published, the protocol."""
    classes = f"{scores['classes_scored']} of {len(scores['classes'])} classes"
    lines = [f"mIoU {scores['mIoU']:.3f} over {classes}, pixel accuracy {scores['pixel_accuracy']:.3f}"]
    for name, values in scores["classes"].items():
        iou = "    - (in neither)" if values["IoU"] is None else f"{values['IoU']:.3f}"
        lines.append(f"  {name:14} {iou}")
    published = scores["published"]
    rows = ", ".join(
        f"{start} {augmentation} {value:.3f}"
        for start, values in published["mIoU"].items()
        for augmentation, value in values.items()
        if value is not None
    )
    lines.append(f"{FULL} ({published['source']}): {rows}")
    lines += [published["note"]] if "note" in published else []
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in scores["protocol"].items())])


def _checked(predicted: np.ndarray, truth: np.ndarray, frame: BenchmarkFrame, classes: int) -> np.ndarray:
    if predicted.shape != truth.shape:
        raise size_error(frame, f"the prediction of {frame.name}", predicted.shape, truth.shape)
    if (largest := predicted.max()) >= classes:
        raise UserError(f"{frame.name}: the prediction has the value {largest}; classes are 0 to {classes - 1}")
    return predicted


def _protocol(images: int, classes: int, origin: str) -> dict[str, Any]:
    return {
        "images": images,
        "whole_benchmark": f"{WHOLE['val']} images of VOC 2012 val",
        "predictions": origin,
        "measure": f"mean IoU over those of {classes} classes, background included, that are in the truth or predicted",
        "averaging": "one confusion matrix, pooled over all labelled pixels; void (255) does not count",
        "post_processing": "none",
        "supervision": "class labels of the training images",
    }
