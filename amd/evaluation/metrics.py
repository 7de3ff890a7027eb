"""Measures of a mask against the truth: region similarity J and boundary measure F of DAVIS; counts of pixels by class.

Input: bool masks H,W. Output: numbers in 0 to 1. Perazzi et al., "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation", CVPR 2016, section 4, in the conventions of its code.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from amd.data.benchmarks.instances import VOID

TOLERANCE = 0.008  # of the image diagonal: how far a boundary pixel may lie from the other boundary
SUCCESS = 0.5  # recall is the share of frames above


class Statistics(NamedTuple):
    """What DAVIS reports of one sequence's J or F."""

    mean: float
    recall: float  # share of frames above 0.5
    decay: float  # mean of the first quarter minus mean of the last: what is lost over time


def jaccard(mask: np.ndarray, truth: np.ndarray) -> float:
    """J: intersection over union of two bool masks H,W; 1 when both are empty."""
    _require_same_shape(mask, truth)
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def boundary_f(mask: np.ndarray, truth: np.ndarray) -> float:
    """F: harmonic mean of boundary precision and recall of two bool masks H,W.

    A boundary pixel is right when the other boundary passes within 0.008 image diagonals, rounded up to
    whole pixels. F is 1 when neither mask has a boundary and 0 when only one has.
    """
    _require_same_shape(mask, truth)
    found, wanted = _boundary(mask), _boundary(truth)
    found_pixels, wanted_pixels = np.count_nonzero(found), np.count_nonzero(wanted)
    if not found_pixels or not wanted_pixels:
        return float(found_pixels == wanted_pixels)
    disk = _disk(math.ceil(TOLERANCE * math.hypot(*mask.shape)))
    precision = np.count_nonzero(found & cv2.dilate(wanted, disk)) / found_pixels
    recall = np.count_nonzero(wanted & cv2.dilate(found, disk)) / wanted_pixels
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def statistics(per_frame: npt.ArrayLike) -> Statistics:
    """Mean, recall and decay of the J or F of one sequence's frames, in order; ValueError if there is none.

    The quarters are those of the DAVIS code: neighbouring ones share the frame where they meet.
    """
    values = np.asarray(per_frame, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"one value per frame is needed, not an array of shape {values.shape}")
    # The tiny summand rounds halves up where numpy would round them to even.
    edges = np.round(np.linspace(1, values.size, 5) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[3] :]
    return Statistics(float(values.mean()), float((values > SUCCESS).mean()), float(first.mean() - last.mean()))


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels, as uint8 0 or 1, that differ from their right, lower or lower right neighbour."""
    mask = mask.view(np.uint8)
    boundary = np.zeros_like(mask)
    boundary[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    boundary[:-1] |= mask[:-1] ^ mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


def _disk(radius: int) -> np.ndarray:
    """uint8 structuring element of all pixels within `radius` of the centre."""
    squares = np.arange(-radius, radius + 1) ** 2
    return (squares[:, None] + squares <= radius**2).astype(np.uint8)


def _require_same_shape(mask: np.ndarray, truth: np.ndarray) -> None:
    if mask.dtype != bool or truth.dtype != bool or mask.ndim != 2 or mask.shape != truth.shape:
        raise ValueError(
            f"two bool masks of one shape are needed, not {mask.dtype} {mask.shape} and {truth.dtype} {truth.shape}"
        )


def mean_over(scores: list[Any]) -> Any:
    """The mean of nested mappings of numbers, key by key; None where nothing has the number."""
    if scores and isinstance(scores[0], Mapping):
        return {key: mean_over([values[key] for values in scores]) for key in scores[0]}
    known = [value for value in scores if value is not None]
    return float(np.mean(known)) if known else None


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 classes,classes of pixels by true (row) and predicted class of two uint8 maps H,W.

    Pixels whose truth is VOID do not count. ValueError for maps of different shapes, or a prediction that is no class.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"maps of one shape are needed, not {predicted.shape} and {truth.shape}")
    known = truth != VOID
    rows, columns = truth[known].astype(np.int64), predicted[known]
    if columns.size and columns.max() >= classes:
        raise ValueError(f"a prediction has the value {columns.max()}, but there are {classes} classes")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def class_ious(counts: np.ndarray) -> list[float | None]:
    """IoU of every class from a confusion matrix; None where there is no pixel of it in truth or prediction."""
    hits = counts.diagonal()
    unions = counts.sum(0) + counts.sum(1) - hits
    return [float(hit / union) if union else None for hit, union in zip(hits, unions, strict=True)]


BETA_SQUARED = 0.3
LEVELS = 256  # thresholds t/255 for t = 0 to 255


class FBeta(NamedTuple):
    """F-beta of one map."""

    curve: np.ndarray  # float64, LEVELS long: F of map >= t/255
    adaptive: float  # F of map >= twice its mean (1 at most)


def f_beta(saliency: np.ndarray, truth: np.ndarray) -> FBeta:
    """F-beta at every threshold and at the adaptive one; 0 where nothing is hit.

    The maximum and the mean over thresholds are those of `curve`, averaged over the images first. ValueError for
    maps outside of 0 to 1, other shapes and types, or a truth without object, for which recall has no meaning.
    """
    saliency = _checked(saliency, truth)
    if not truth.any():
        raise ValueError("the truth has no object")
    levels = (saliency * (LEVELS - 1)).astype(np.uint8)
    hits = _at_least(levels[truth])
    found = _at_least(levels)
    chosen = saliency >= min(2 * saliency.mean(), 1)
    wanted = np.count_nonzero(truth)
    adaptive = _f(np.count_nonzero(chosen & truth), np.count_nonzero(chosen), wanted)
    return FBeta(_f(hits, found, wanted), float(adaptive))


def mae(saliency: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute error of a soft map against the 0/1 truth; ValueError like `f_beta`."""
    return float(np.abs(_checked(saliency, truth) - truth).mean())


def _at_least(levels: np.ndarray) -> np.ndarray:
    """How many of `levels` are t and above, for every t."""
    return np.bincount(levels.ravel(), minlength=LEVELS)[::-1].cumsum()[::-1]


def _f(hits: Any, found: Any, wanted: Any) -> Any:  # arrays or numbers
    """F-beta from counts of pixels: (1 + b2) P R / (b2 P + R), with P = hits/found and R = hits/wanted."""
    return (1 + BETA_SQUARED) * hits / (BETA_SQUARED * wanted + found)


def _checked(saliency: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if saliency.ndim != 2 or saliency.shape != truth.shape or truth.dtype != bool:
        raise ValueError(f"a map and a bool truth of one shape are needed, not {saliency.shape} and {truth.shape}")
    saliency = saliency.astype(np.float64)
    if not (saliency.min() >= 0 and saliency.max() <= 1):
        raise ValueError("a saliency map has values from 0 to 1")
    return saliency
