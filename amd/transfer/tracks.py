"""Seeds of one object linked over the video, and the track that is the object's (eqs. 8 to 10).

Input: per frame the embeddings n,D, objectness n and motion saliency n of its seeds (n may differ by frame). Output:
the number of the foreground's seed in every frame.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from amd.config import Transfer
from amd.transfer.grid_graph import Edges, grid_edges, minimax_distances
from amd.transfer.seeds import FrameSeeds, squared_distances

Ranking = Literal["both", "motion", "objectness"]


def link_seeds(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Tracks T,n0: each seed of the first frame, then always the next frame's seed most similar to the one before."""
    tracks = [np.arange(len(embeddings[0]))]
    for before, after in pairwise(embeddings):
        tracks.append(squared_distances(before, after).argmin(1)[tracks[-1]])
    return np.stack(tracks)


def track_scores(
    tracks: np.ndarray, objectness: Sequence[np.ndarray], saliency: Sequence[np.ndarray], ranking: Ranking
) -> np.ndarray:
    """F: the mean over frames of O·M along each track (or of one of the two alone), n0 values.

    In a video where nothing moves (a still, a single frame), motion says nothing and objectness decides alone.
    """
    seen = {
        "objectness": np.stack([values[seeds] for values, seeds in zip(objectness, tracks, strict=True)]),
        "motion": np.stack([values[seeds] for values, seeds in zip(saliency, tracks, strict=True)]),
    }
    if not any(values.any() for values in saliency):
        ranking = "objectness"
    return (seen["objectness"] * seen["motion"] if ranking == "both" else seen[ranking]).mean(0)


def foreground_track(tracks: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
    """The seed of the foreground in every frame, T: the best track's; None when no track scores above zero."""
    best = int(scores.argmax())
    return tracks[:, best] if scores[best] > 0 else None


def initial_foreground(edges: Edges, foreground: int, background: np.ndarray) -> np.ndarray:
    """Points h,w nearer to the seed `foreground` than to every one of `background`, flat indices, by minimax (eq. 11).

    Minimax distances are an ultrametric: of the three distances between p, f and b, the two largest are equal. So
    p is nearer to f than to b exactly where it is nearer to f than b is, and one search from f is enough.
    """
    distances = minimax_distances(edges, foreground)
    return distances < distances.ravel()[background].min(initial=np.inf)


def more_foreground(regions: np.ndarray, initial: np.ndarray, seed: int, count: int, overlap: float) -> np.ndarray:
    """`seed` and all whose region lies in the initial foreground by more than the share `overlap`; bool, `count`."""
    areas = np.bincount(regions.ravel(), minlength=count)
    chosen = np.bincount(regions[initial], minlength=count) > overlap * areas
    chosen[seed] = True
    return chosen


def more_background(
    objectness: np.ndarray, saliency: np.ndarray, min_objectness: float, min_motion: float
) -> np.ndarray:
    """Seeds of little objectness or little motion (eq. 12), bool; where nothing moves, motion rules none out."""
    still = saliency < min_motion if saliency.any() else np.zeros(len(saliency), bool)
    return (objectness < min_objectness) | still


def seed_sets(
    embedding: np.ndarray, seeds: FrameSeeds, chosen: int, settings: Transfer
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a frame's foreground and background seeds, grown from its foreground seed `chosen`.

    A seed is on one side only: what grew from the foreground seed is not background, whatever its cues. Where no
    other seed is background by its cues, the initial background is.
    """
    background = seeds.background[seeds.background != chosen]
    initial = initial_foreground(grid_edges(embedding), int(seeds.points[chosen]), seeds.points[background])
    foreground = more_foreground(seeds.regions, initial, chosen, len(seeds.points), settings.overlap)
    cued = more_background(seeds.objectness, seeds.saliency, settings.min_objectness, settings.min_motion) & ~foreground
    return np.flatnonzero(foreground), np.flatnonzero(cued) if cued.any() else background
