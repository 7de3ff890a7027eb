"""Number of segments in pictures: J against c, and the label maps of some frames for every c (paper, figure 5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.colors import to_rgb

from amd.data.benchmarks import davis
from amd.data.benchmarks.predictions import masks_folder, prediction_path, segments_folder
from amd.data.benchmarks.sequences import BenchmarkFrame
from amd.data.images import read_image, read_labels, read_mask
from amd.draw.colours import segment_colour
from amd.draw.plots import printed
from amd.draw.sheet import write_sheet

CURVES = {"label_free_J": ("label-free", "#3b82c4", "-"), "oracle_J": ("oracle", "#8a8a8a", "--")}
PICTURED = 6  # videos
OPACITY = 0.5  # of the segments' colours


def write_sweep_curve(path: Path | str, numbers: Mapping[int, Mapping[str, float]]) -> None:
    """A PNG: J, label-free and of the best segment, by the number of segments."""
    segments = sorted(numbers)
    with printed(path, 4, 2.8) as figure:
        axes = figure.subplots()
        for key, (name, colour, line) in CURVES.items():
            values = [numbers[c][key] for c in segments]
            axes.plot(segments, values, line, marker="o", markersize=4, color=colour, label=name)
        axes.set_xticks(segments)
        axes.set_ylim(0, 1)
        axes.grid(axis="y")
        axes.set_xlabel("segments c")
        axes.set_ylabel("J, mean over sequences")
        axes.legend(frameon=False, fontsize=8)


def write_sweep_masks(path: Path | str, videos: Sequence[davis.Sequence], predictions: Mapping[int, Path]) -> None:
    """A PNG: the middle frame of some videos, and for every c its segments in colour, the object's outlined in white.

    `predictions` are folders with the masks and label maps of amd.data.benchmarks.predictions, by number of segments.
    """
    rows = []
    for video in videos[:PICTURED]:
        frame = video.frames[len(video.frames) // 2]
        image = read_image(frame.image)
        rows.append([image, *(_segments(image, video, frame, folder) for folder in predictions.values())])
    write_sheet(path, ["frame", *(f"c = {segments}" for segments in predictions)], rows)


def _segments(image: np.ndarray, video: davis.Sequence, frame: BenchmarkFrame, folder: Path) -> np.ndarray:
    labels = read_labels(prediction_path(segments_folder(folder, video.dataset), video.name, frame.name))
    mask = read_mask(prediction_path(masks_folder(folder, video.dataset), video.name, frame.name))
    colours = np.array([to_rgb(segment_colour(segment)) for segment in range(labels.max() + 1)], np.float32) * 255
    drawn = (image * np.float32(1 - OPACITY) + OPACITY * colours[labels]).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(drawn, contours, -1, (255, 255, 255), max(1, min(mask.shape) // 100), cv2.LINE_AA)
