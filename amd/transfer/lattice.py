"""Gaussian filtering of many points in a few dimensions: the permutohedral lattice.

In, points d,n in units of the Gaussian's deviation; out, a filter of one value per point, up to a constant factor.
Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010: every
point gives its value to the d+1 corners of its simplex (splat), the corners are blurred along d+1 directions, and
give back (slice). Splat and slice are one sparse matrix here, and its transpose.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array


def lattice_filter(points: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The approximate Gaussian filter sum_j exp(−‖x_i − x_j‖²/2) v_j of values v, n, up to a factor; float32.

    ValueError for points so far apart that the lattice's coordinates do not fit a number.
    """
    dimensions, count = points.shape
    origins, falling, weights = _simplices(points)
    keys, corners, strides = _corners(origins, falling)
    rows = np.arange(0, corners.size + 1, dimensions + 1)
    slicing = csr_array((weights.T.ravel(), corners.ravel(), rows), shape=(count, len(keys)))
    splatting = slicing.T
    neighbours = _neighbours(keys, strides)

    def filter_(values: np.ndarray) -> np.ndarray:
        lattice = np.append(splatting @ values.astype(np.float32), np.float32(0))  # the last: where there is no corner
        for before, after in neighbours:
            beside = lattice[before]
            beside += lattice[after]
            beside *= 0.5
            lattice += beside
        return slicing @ lattice[:-1]

    return filter_


def _simplices(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each point's nearest lattice point of remainder 0, its coordinates from the largest offset to the least, and the
    barycentric weights of its simplex' corners; all d+1,n."""
    dimensions, count = points.shape
    elevated = _elevate(points)
    origins = np.rint(elevated / (dimensions + 1)) * (dimensions + 1)
    ranks = _ranks(elevated - origins)
    ranks += (origins.sum(0) / (dimensions + 1)).astype(np.int8)  # off the plane: those rounded furthest step back
    step = ((ranks < 0).astype(np.int8) - (ranks > dimensions)) * np.int8(dimensions + 1)
    ranks += step
    origins += step
    everyone = np.arange(count)
    falling = np.empty(ranks.shape, np.int8)
    falling.ravel()[ranks.astype(np.int64) * count + everyone] = np.arange(dimensions + 1)[:, None]
    offsets = ((elevated - origins) / (dimensions + 1)).astype(np.float32)
    return origins.astype(np.int64), falling, _barycentric(offsets.ravel()[falling.astype(np.int64) * count + everyone])


def _elevate(points: np.ndarray) -> np.ndarray:
    """Points d,n in the plane of d+1,n whose coordinates sum to zero, scaled so that the blur has deviation 1."""
    dimensions, count = points.shape
    axis = np.arange(1, dimensions + 1)
    scaled = points * ((dimensions + 1) * np.sqrt(2 / 3) / np.sqrt(axis * (axis + 1)))[:, None]
    elevated = np.zeros((dimensions + 1, count))
    elevated[:-1] = np.cumsum(scaled[::-1], axis=0)[::-1]
    elevated[1:] -= axis[:, None] * scaled
    return elevated


def _ranks(offsets: np.ndarray) -> np.ndarray:
    """The rank of every row in its column, the largest first; of equal ones the upper first; int8."""
    ranks = np.zeros(offsets.shape, np.int8)
    for upper in range(len(offsets)):
        for lower in range(upper + 1, len(offsets)):
            behind = offsets[upper] < offsets[lower]
            ranks[upper] += behind
            ranks[lower] += ~behind
    return ranks


def _barycentric(ordered: np.ndarray) -> np.ndarray:
    """Weights d+1,n of the corners of remainder 0 to d: the steps between offsets (largest first), the last first."""
    weights = np.empty_like(ordered)
    weights[1:] = (ordered[:-1] - ordered[1:])[::-1]
    weights[0] = 1 - weights[1:].sum(0)
    return weights


def _corners(origins: np.ndarray, falling: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lattice points that are used: their keys M ascending, each corner's place among them n,d+1, and strides.

    A key has all coordinates but the last (they sum to zero) as its digits, worth the strides d. From one corner to the
    next, every coordinate grows by one, but one falls by d: that of the least offset first.
    """
    dimensions = len(origins) - 1
    low = origins[:-1].min(1) - 2 * (dimensions + 1)  # room for the corners and for a step to any neighbour
    sizes = origins[:-1].max(1) - low + 3 * (dimensions + 1)
    if np.prod(sizes.astype(float)) >= 2.0**63:
        raise ValueError("points too far apart for the lattice")
    strides = np.append(np.cumprod(sizes[:0:-1])[::-1], 1)
    steps = _steps(strides)
    keys = np.empty((dimensions + 1, origins.shape[1]), np.int64)
    keys[0] = sum(stride * (row - least) for stride, row, least in zip(strides, origins[:-1], low, strict=True))
    for corner in range(dimensions):
        keys[corner + 1] = keys[corner] + steps[falling[dimensions - corner]]
    coded = pa.array(keys.T.ravel()).dictionary_encode()  # by hashing: ten times as fast as sorting them all
    found, places = coded.dictionary.to_numpy(), coded.indices.to_numpy()
    order = np.argsort(found)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return found[order], rank[places].reshape(-1, dimensions + 1), strides


def _neighbours(keys: np.ndarray, strides: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Along every direction, each lattice point's two neighbours, M+1: their number is M where there is none."""
    return [_pairs(keys, step) for step in _steps(strides)]


def _pairs(keys: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """For every key the place of the key a step before and after it; with M for none, and at M itself."""
    count = len(keys)
    places = np.searchsorted(keys, keys + step)
    here = np.flatnonzero(keys[np.minimum(places, count - 1)] == keys + step)
    before, after = np.full(count + 1, count), np.full(count + 1, count)
    after[here] = places[here]
    before[places[here]] = here
    return before, after


def _steps(strides: np.ndarray) -> np.ndarray:
    """What a key changes by along every direction, d+1: all coordinates grow by one, but one falls by d."""
    return strides.sum() - (len(strides) + 1) * np.append(strides, 0)
