"""How embeddings change over a video (Instance Embedding Transfer, figures 6 and 8).

Input: the embeddings of annotated frames with their truth, the first frame's among them. Output: per frame the share
of foreground points that are nearer to the first frame's background than to its foreground, and how far either side is
from itself in the first frame. The paper gives no formula for its figure 8: here a point's distance is that to the
nearest reference of its side, as in figure 6, averaged over the points.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from amd.transfer.frame import to_grid
from amd.transfer.seeds import squared_distances

POINTS = 1000  # of a side of a frame, evenly over it
STEPS = np.linspace(0, 1, 21)  # relative time


class Sides(NamedTuple):
    """Embeddings n,D of the foreground and m,D of the background of a frame."""

    foreground: np.ndarray
    background: np.ndarray


def annotated_points(embedding: np.ndarray, truth: np.ndarray) -> Sides:
    """Up to POINTS embeddings of either side of a frame; a grid point is of the side that most of its cell is."""
    cover = to_grid(truth, embedding.shape[:2]) > 0.5
    return Sides(*(_thinned(embedding[side]) for side in (cover, ~cover)))


def drift_of(reference: Sides, frame: Sides) -> dict[str, float]:
    """The three measures of a frame; NaN for a side that it, or the reference, has no point of."""
    to_foreground, to_background = (_nearest(frame.foreground, side) for side in reference)
    return {
        "wrong_foreground": _mean(to_background < to_foreground) if len(to_foreground) else np.nan,
        "foreground_distance": _mean(to_foreground),
        "background_distance": _mean(_nearest(frame.background, reference.background)),
    }


def relative_curves(frames: Iterable[tuple[float, dict[str, float]]]) -> dict[str, np.ndarray]:
    """Measures over relative time STEPS, linear between frames given as (relative time, measures); NaN passed over."""
    frames = list(frames)
    curves = {}
    for name in frames[0][1]:
        known = np.array([(time, measures[name]) for time, measures in frames if np.isfinite(measures[name])])
        curves[name] = np.interp(STEPS, *known.T) if len(known) else np.full(len(STEPS), np.nan)
    return curves


def _nearest(points: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest reference; infinite where there is none."""
    return np.sqrt(squared_distances(points, references).min(1, initial=np.inf))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) and np.isfinite(values).all() else np.nan


def _thinned(points: np.ndarray) -> np.ndarray:
    return points[np.linspace(0, len(points) - 1, min(POINTS, len(points))).round().astype(int)]
