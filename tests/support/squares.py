"""A small benchmark of moving squares with predictions of known error, for the tests of scoring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from layouts import write_davis

from amd.data.benchmarks.davis import Sequence, davis2016
from amd.data.benchmarks.predictions import prediction_path
from amd.data.images import read_mask, write_labels, write_mask

HEIGHT, WIDTH = 30, 40
LENGTHS = {"bear": 5, "dog": 4}


def square(left: int) -> np.ndarray:
    """A 10x10 object whose left edge is at column `left`."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:20, left : left + 10] = True
    return mask


def moving_squares(root: Path) -> list[Sequence]:
    """DAVIS with two sequences under `root`, the object moving one pixel a frame from column 5 on."""
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for name, length in LENGTHS.items():
        write_davis(root, name, ((black, square(5 + number)) for number in range(length)))
    return davis2016(root)


def predict(sequences: list[Sequence], folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Write `change(truth)` of every frame as its predicted mask."""
    for sequence in sequences:
        for frame in sequence.frames:
            mask = change(read_mask(frame.truth))
            write_mask(prediction_path(folder, sequence.name, frame.name), mask)
    return folder


def shift(pixels: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda truth: np.roll(truth, pixels, axis=1)


def predict_segments(sequences: list[Sequence], folder: Path) -> Path:
    """Label maps of a model with 4 segments: 2 is the object, 1 is beside it, 0 is the rest, 3 is nowhere."""
    for sequence in sequences:
        for frame in sequence.frames:
            truth = read_mask(frame.truth)
            labels = np.where(truth, 2, np.where(np.roll(truth, 10, axis=1), 1, 0)).astype(np.uint8)
            write_labels(prediction_path(folder, sequence.name, frame.name), labels)
    return folder
