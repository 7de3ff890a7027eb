"""From one foreground seed to the sets of foreground and background seeds of a frame (section 3.4, eqs. 11 and 12).

In, a frame's graph, regions and the objectness and motion of its seeds; out, the numbers of both sets' seeds.
"""

import numpy as np

from amd.params import Transfer
from amd.transfer.analysis import FrameSeeds
from amd.transfer.grid_graph import Edges, grid_edges, minimax_distances


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
