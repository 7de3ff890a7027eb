"""Pictures of semantic segmentation: labels drawn over their images, and mIoU by start as points with their mean."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from amd.data.benchmarks.instances import VOID
from amd.data.benchmarks.sequences import BenchmarkFrame
from amd.data.benchmarks.voc import read_classes
from amd.data.images import read_image
from amd.draw.plots import ACCENT, printed
from amd.draw.sheet import write_sheet

OPACITY = 0.65
PICTURED = 8  # images
VOID_COLOUR = (224, 224, 192)  # as in Pascal VOC's own pictures


def write_semantic_sheet(
    path: Path | str,
    frames: Sequence[BenchmarkFrame],
    predictions: Mapping[str, Callable[[BenchmarkFrame], np.ndarray]],
    classes: int,
) -> None:
    """A PNG: some of the images with their truth and every prediction (labels uint8 H,W by title)."""
    step = max(1, len(frames) // PICTURED)
    rows = []
    for frame in frames[::step][:PICTURED]:
        image = read_image(frame.image)
        maps = [read_classes(frame, classes), *(labels_of(frame) for labels_of in predictions.values())]
        rows.append([image, *(draw_labels(image, labels) for labels in maps)])
    write_sheet(path, ["image", "truth", *predictions], rows)


def draw_labels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A grey copy of an image uint8 H,W,3 in which every class has its colour; background has none."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    opacity = np.where(labels == 0, 0, OPACITY).astype(np.float32)[..., None]
    return (grey * (1 - opacity) + opacity * palette()[labels]).astype(np.uint8)


def palette() -> np.ndarray:
    """A colour uint8 256,3 for every label: Pascal VOC's, whose bits are the label's in turn."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), int)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (labels >> (3 * bit + channel) & 1) << (7 - bit)
    colours[VOID] = VOID_COLOUR
    return colours.astype(np.uint8)


def write_semantic_scores(path: Path | str, scores: Mapping[str, Sequence[float]]) -> None:
    """A PNG: for every kind of fine-tuning the mIoU of each seed as a point, and their mean as a line."""
    with printed(path, 1.6 + 1.1 * len(scores), 2.8) as figure:
        axes = figure.subplots()
        for place, values in enumerate(scores.values()):
            axes.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=ACCENT)
            axes.plot([place] * len(values), values, "o", color=ACCENT, markersize=4, alpha=0.7)
            axes.text(place + 0.3, float(np.mean(values)), f"{np.mean(values):.3f}", va="center", fontsize=8)
        axes.set_xticks(range(len(scores)), [name.replace("-", "\n") for name in scores])
        axes.set_xlim(-0.6, len(scores) - 0.2)
        axes.set_ylim(0, 1.1 * max(map(max, scores.values())) or 1)
        axes.set_ylabel("mIoU, a point per seed")
