"""Measures of a soft saliency map against a binary truth: F-beta with beta^2 = 0.3, and the mean absolute error.

In, maps float H,W in 0 to 1 and truths bool H,W; out, numbers in 0 to 1. Achanta et al., "Frequency-tuned Salient
Region Detection", CVPR 2009; maps are taken as they are, not stretched to 0 and 1.
"""

from typing import NamedTuple

import numpy as np

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


def _f(hits: np.ndarray | int, found: np.ndarray | int, wanted: int) -> np.ndarray:
    """F-beta from counts of pixels: (1 + b2) P R / (b2 P + R), with P = hits/found and R = hits/wanted."""
    return (1 + BETA_SQUARED) * hits / (BETA_SQUARED * wanted + found)


def _checked(saliency: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if saliency.ndim != 2 or saliency.shape != truth.shape or truth.dtype != bool:
        raise ValueError(f"a map and a bool truth of one shape are needed, not {saliency.shape} and {truth.shape}")
    saliency = saliency.astype(np.float64)
    if not (saliency.min() >= 0 and saliency.max() <= 1):
        raise ValueError("a saliency map has values from 0 to 1")
    return saliency
