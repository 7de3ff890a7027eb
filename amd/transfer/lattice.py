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
    """The approximate Gaussian filter sum_j exp(−‖x_i − x_j‖²/2) v_j of values v, n, up to a factor.

    ValueError for points so far apart that the lattice's coordinates do not fit a number.
    """
    dimensions, count = points.shape
    origins, ranks, weights = _simplices(points)
    keys, corners, strides = _corners(origins, ranks)
    rows = np.arange(0, corners.size + 1, dimensions + 1)
    entries = weights.T.astype(np.float32).ravel()  # half the memory to go through in every pass
    slicing = csr_array((entries, corners.ravel(), rows), shape=(count, len(keys)))
    splatting = slicing.T
    neighbours = _neighbours(keys, strides)

    def filter_(values: np.ndarray) -> np.ndarray:
        lattice = splatting @ values.astype(np.float32)
        for before, after in neighbours:
            padded = np.append(lattice, np.float32(0))  # where there is no corner there is nothing
            lattice = lattice + (padded[before] + padded[after]) / 2
        return slicing @ lattice

    return filter_


def _simplices(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each point's nearest lattice point of remainder 0, the ranks of its coordinates' offsets (0 is the largest), and
    the barycentric weights of its simplex' corners; all d+1,n."""
    dimensions = len(points)
    elevated = _elevate(points)
    origins = (np.rint(elevated / (dimensions + 1)) * (dimensions + 1)).astype(np.int64)
    ranks = _ranks(elevated - origins)
    ranks += origins.sum(0) // (dimensions + 1)  # off the plane: the coordinates that were rounded furthest step back
    step = ((ranks < 0).astype(np.int64) - (ranks > dimensions)) * (dimensions + 1)
    ranks += step
    origins += step
    return origins, ranks, _barycentric((elevated - origins) / (dimensions + 1), ranks)


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
    """The rank of every row in its column, the largest first; of equal ones the upper first."""
    ranks = np.zeros(offsets.shape, np.int64)
    for upper in range(len(offsets)):
        for lower in range(upper + 1, len(offsets)):
            behind = offsets[upper] < offsets[lower]
            ranks[upper] += behind
            ranks[lower] += ~behind
    return ranks


def _barycentric(offsets: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Weights d+1,n of the corners of remainder 0 to d: the steps between the sorted offsets, smallest first."""
    ordered = np.empty_like(offsets)
    np.put_along_axis(ordered, ranks, offsets, axis=0)  # largest first
    weights = np.empty_like(offsets)
    weights[1:] = (ordered[:-1] - ordered[1:])[::-1]
    weights[0] = 1 - weights[1:].sum(0)
    return weights


def _corners(origins: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lattice points that are used: their keys M ascending, each corner's place among them n,d+1, and strides.

    A key has all coordinates but the last (they sum to zero) as its digits, worth the strides d.
    """
    dimensions = len(origins) - 1
    low = origins[:-1].min(1) - 2 * (dimensions + 1)  # room for the corners and for a step to any neighbour
    sizes = origins[:-1].max(1) - low + 3 * (dimensions + 1)
    if np.prod(sizes.astype(float)) >= 2.0**63:
        raise ValueError("points too far apart for the lattice")
    strides = np.append(np.cumprod(sizes[:0:-1])[::-1], 1)
    home = strides @ (origins[:-1] - low[:, None])
    keys = np.empty((origins.shape[1], dimensions + 1), np.int64)
    for corner in range(dimensions + 1):
        wrapped = strides @ (ranks[:-1] > dimensions - corner)
        keys[:, corner] = home + corner * strides.sum() - (dimensions + 1) * wrapped
    coded = pa.array(keys.ravel()).dictionary_encode()  # by hashing: ten times as fast as sorting them all
    found, places = coded.dictionary.to_numpy(), coded.indices.to_numpy()
    order = np.argsort(found)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return found[order], rank[places].reshape(keys.shape), strides


def _neighbours(keys: np.ndarray, strides: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Along every direction, each lattice point's two neighbours; their number is M where there is none."""
    dimensions = len(strides)
    steps = strides.sum() - (dimensions + 1) * np.append(strides, 0)
    return [(_find(keys, keys - step), _find(keys, keys + step)) for step in steps]


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    places = np.searchsorted(keys, wanted)
    found = keys[np.minimum(places, len(keys) - 1)] == wanted
    return np.where(found, places, len(keys))
