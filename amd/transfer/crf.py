"""Masks that follow the image's edges: mean field in a fully connected CRF of two labels (section 3.4).

Input: the foreground's probability and the image. Output: the refined probability. Krähenbühl and Koltun, NIPS 2011,
with the unary −log P and DeepLab's two kernels: smoothness (position) and appearance (position and colour). Each
kernel's message is the mean of the neighbours' probabilities under its Gaussian, the pixel itself included, as in the
published code. The appearance kernel is filtered on a permutohedral lattice (see docs/transfer.md for its error).
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit, logit

from amd.config import Crf

SURE = 1e-6  # probabilities are kept this far from 0 and 1

Mean = Callable[[np.ndarray], np.ndarray]  # of the neighbours, H,W


def refine(probability: np.ndarray, image: np.ndarray, settings: Crf) -> np.ndarray:
    """The foreground's probability H,W after mean field, float32; `image` is uint8 H,W,3."""
    kernels: list[tuple[float, Mean]] = []
    if settings.position_weight:
        kernels.append((settings.position_weight, position_mean(image.shape[:2], settings.position_sigma)))
    if settings.colour_weight:
        appearance = appearance_mean(image, settings.colour_position_sigma, settings.colour_sigma)
        kernels.append((settings.colour_weight, appearance))
    return mean_field(probability, kernels, settings.iterations)


def mean_field(probability: np.ndarray, kernels: Sequence[tuple[float, Mean]], iterations: int) -> np.ndarray:
    """Parallel updates of Q from `probability` H,W under Potts potentials; `kernels` are weights with their means.

    With two labels a pixel pays the weight times the mean of the other label, so the messages' difference is
    2·mean − 1.
    """
    unary = logit(np.clip(probability, SURE, 1 - SURE).astype(np.float64))
    belief = expit(unary)
    for _ in range(iterations):
        belief = expit(unary + sum(weight * (2 * mean(belief) - 1) for weight, mean in kernels))
    return belief.astype(np.float32)


def position_mean(size: tuple[int, int], sigma: float) -> Mean:
    """Means under a Gaussian of `sigma` pixels, over the part that lies in the frame."""
    blur = lambda values: cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    total = blur(np.ones(size))
    return lambda values: blur(values) / total


def appearance_mean(image: np.ndarray, position_sigma: float, colour_sigma: float) -> Mean:
    """Means under the product of a Gaussian in position (pixels) and one in colour (of 0 to 255)."""
    height, width = image.shape[:2]
    places = np.mgrid[:height, :width].reshape(2, -1) / position_sigma
    blur = lattice_filter(np.concatenate([places, image.reshape(-1, 3).T / colour_sigma]))
    total = blur(np.ones(height * width))
    return lambda values: (blur(values.ravel()) / total).reshape(height, width)


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

    All coordinates of a lattice point leave the same remainder by d+1. A key has it as its first digit, then the
    quotients of all coordinates but the last (they sum to zero); digits are worth the strides, the last one nothing.
    From one corner to the next, every coordinate grows by one, but one falls by d: that of the least offset first. So
    the remainder grows by one and that quotient falls by one.
    """
    count = len(origins)
    quotients = origins[:-1] // count
    low = quotients.min(1) - 2  # room for the corners and for a step to any neighbour
    sizes = np.append(count, quotients.max(1) - low + 2)
    if np.prod(sizes.astype(float)) >= 2.0**63:
        raise ValueError("points too far apart for the lattice")
    whole = np.int32 if np.prod(sizes) < 2**31 else np.int64  # half as long, twice as fast
    strides = np.append(np.cumprod(np.append(1, sizes[:0:-1]))[::-1], 0).astype(whole)
    key = strides[1:-1] @ (quotients - low[:, None]).astype(whole)
    keys: list[np.ndarray] = []
    places = np.empty((origins.shape[1], count), np.int32)
    for corner in range(count):  # each by itself: their remainders differ
        found, places[:, corner] = np.unique(key, return_inverse=True)
        places[:, corner] += sum(len(before) for before in keys)
        keys.append(found)
        key = key + (strides[0] - strides[1:])[falling[-1 - corner]]
    return np.concatenate(keys), places, strides


def _neighbours(keys: np.ndarray, strides: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Along every direction, each lattice point's two neighbours, M+1: their number is M where there is none.

    From the last remainder a step leads to the first one, and quotients grow by one where else they stay.
    """
    last = (len(strides) - 2) * strides[0]
    onward = keys + np.where(keys < last, strides[0], strides[1:].sum(dtype=keys.dtype) - last)
    return [_pairs(keys, onward - stride) for stride in strides[1:]]


def _pairs(keys: np.ndarray, onward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every key the place of the key a step before and after it, which is `onward`; M for none, and at M itself."""
    count = len(keys)
    both = np.concatenate([keys, onward])
    order = np.argsort(both, kind="stable")  # merges parts that are in order, which is faster than to search each
    merged = both[order]
    same = np.flatnonzero(merged[1:] == merged[:-1])
    here, there = order[same + 1] - count, order[same]
    before, after = np.full(count + 1, count), np.full(count + 1, count)
    after[here], before[there] = there, here
    return before, after
