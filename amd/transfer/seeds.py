"""A few points that stand for everything in a frame: candidates off the edges, then a diverse choice (section 3.2).

Points are flat indices into the grid h,w, row by row. Wherever several are equally good, the first one counts.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import expit

from amd.config import Transfer
from amd.transfer.frame import FrameFeatures
from amd.transfer.grid_graph import geodesic_regions, grid_edges
from amd.transfer.saliency import background_seeds, motion_saliency, region_flow, region_mean


def candidates(edges: np.ndarray, window: int) -> np.ndarray:
    """Points whose edge value is the least in the `window` x `window` points around them (eq. 5), ascending.

    `edges` is h,w, `window` odd; beyond the frame there is nothing. There is always one: the least of the frame.
    On a plateau every point counts.
    """
    least = cv2.erode(np.ascontiguousarray(edges, np.float32), np.ones((window, window), np.uint8))
    return np.flatnonzero(edges == least)


def choose_seeds(embeddings: np.ndarray, objectness: np.ndarray, count: int) -> np.ndarray:
    """Rows of `embeddings` n,D chosen as seeds (eq. 6), at most `count`, in the order of choice.

    The first is that of the largest `objectness` n; then always the one whose largest similarity to those chosen is
    smallest, that is, which is farthest from the nearest of them.
    """
    chosen = [int(objectness.argmax())]
    nearest = np.full(len(embeddings), np.inf, np.float32)  # squared distance to the nearest chosen
    while len(chosen) < min(count, len(embeddings)):
        newest = embeddings[chosen[-1]]
        nearest = np.minimum(nearest, ((embeddings - newest) ** 2).sum(1))
        nearest[chosen[-1]] = -1  # not again
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


@dataclass(frozen=True)
class FrameSeeds:
    """The n seeds of a frame, in the order of choice."""

    points: np.ndarray  # n, flat indices into the grid
    embeddings: np.ndarray  # n,D
    objectness: np.ndarray  # n
    saliency: np.ndarray  # n, motion saliency M
    regions: np.ndarray  # h,w: the number of the nearest seed
    background: np.ndarray  # numbers of the initial background seeds


def find_seeds(frame: FrameFeatures, settings: Transfer) -> FrameSeeds:
    """Seeds of a frame with their regions and cues."""
    embeddings = frame.embedding.reshape(-1, frame.embedding.shape[-1])
    objectness = frame.objectness.ravel()
    places = candidates(edge_map(frame.embedding), settings.window)
    points = places[choose_seeds(embeddings[places], objectness[places], settings.seeds)]
    regions = geodesic_regions(grid_edges(frame.embedding), points)
    background = background_seeds(objectness[points], settings.background_seeds)
    if frame.flow is None:
        saliency = region_mean(frame.objectness, regions, len(points))
    else:
        saliency = motion_saliency(region_flow(frame.flow, regions, len(points)), background)
    return FrameSeeds(points, embeddings[points], objectness[points], saliency, regions, background)


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """‖p − q‖² of every pair of `points` n,D and `others` m,D: n,m, accurate to float32's rounding of ‖p‖²."""
    products = points @ others.T
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2 * products
    return np.maximum(squares, 0)


def similarity(squared: np.ndarray) -> np.ndarray:
    """R = 2 / (1 + exp(d²)) of squared distances (eq. 1)."""
    return 2 * expit(-squared)


def edge_map(embedding: np.ndarray) -> np.ndarray:
    """c(p) = max over the 4-neighbours q of 1 − R(p, q), h,w of an embedding h,w,D (eq. 4); 0 without neighbours."""
    largest = np.zeros(embedding.shape[:2], np.float32)  # squared distance: R falls with it
    across = ((embedding[:, 1:] - embedding[:, :-1]) ** 2).sum(-1)
    down = ((embedding[1:] - embedding[:-1]) ** 2).sum(-1)
    for part, lengths in (
        (np.s_[:, 1:], across), (np.s_[:, :-1], across), (np.s_[1:], down), (np.s_[:-1], down),
    ):  # fmt: skip
        largest[part] = np.maximum(largest[part], lengths)
    return 1 - similarity(largest)
