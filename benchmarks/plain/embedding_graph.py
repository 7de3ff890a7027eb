"""Instance Embedding Transfer's distances, plainly: Dijkstra and Prim with a heap, and a CRF over all pairs."""

import heapq

import numpy as np


def regions(embedding: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The number of the nearest seed by sums of lengths, h,w."""
    return _searched(embedding, seeds.tolist(), lambda reached, length: reached + length)[1]


def minimax(embedding: np.ndarray, source: int) -> np.ndarray:
    """The longest length on the path whose longest is shortest, h,w."""
    return _searched(embedding, [source], max)[0]


def _searched(embedding: np.ndarray, seeds: list[int], join) -> tuple[np.ndarray, np.ndarray]:
    """Distances h,w from the nearest of `seeds`, and which that is."""
    height, width = embedding.shape[:2]
    distances, owners = np.full((height, width), np.inf), np.zeros((height, width), int)
    waiting = [(0.0, *divmod(seed, width), number) for number, seed in enumerate(seeds)]
    while waiting:
        reached, row, column, owner = heapq.heappop(waiting)
        if reached >= distances[row, column]:
            continue
        distances[row, column], owners[row, column] = reached, owner
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= y < height and 0 <= x < width:
                length = float(np.linalg.norm(embedding[y, x] - embedding[row, column]))
                heapq.heappush(waiting, (join(reached, length), y, x, owner))
    return distances, owners


def appearance_mean(image: np.ndarray, values: np.ndarray, position_sigma: float, colour_sigma: float) -> np.ndarray:
    """Means under the CRF's appearance kernel, pixel by pixel over all others."""
    height, width = values.shape
    places = np.mgrid[:height, :width].reshape(2, -1) / position_sigma
    points = np.concatenate([places, image.reshape(-1, 3).T / colour_sigma])
    means = np.empty(height * width)
    for pixel in range(height * width):
        weights = np.exp(-0.5 * ((points - points[:, pixel : pixel + 1]) ** 2).sum(0))
        means[pixel] = (weights * values.ravel()).sum() / weights.sum()
    return means.reshape(height, width)
