"""Which seeds move unlike the background: by flow (eq. 7), or by motion evidence.

Input: flow h,w,2 in pixels, or evidence h,w, and regions h,w (the number of each point's seed). Output: a saliency in 0
to 1 per seed.
"""

import numpy as np

STILL = 1e-6  # squared pixels: what moves less than a thousandth of a pixel unlike the background moves with it


def region_flow(flow: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    """o(s): mean flow of each of `count` regions, count,2."""
    return np.stack([region_mean(flow[..., axis], regions, count) for axis in (0, 1)], axis=1)


def region_mean(values: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    """The mean of `values` h,w over each of `count` regions; of evidence it is the regions' saliency."""
    return np.bincount(regions.ravel(), values.ravel(), count) / np.bincount(regions.ravel(), minlength=count)


def background_seeds(objectness: np.ndarray, count: int) -> np.ndarray:
    """The initial background: the `count` seeds of least objectness, least first; at most half of all seeds.

    The paper's 30 are of 100; a small frame has fewer seeds, and not all of them are background.
    """
    return np.argsort(objectness, kind="stable")[: min(count, len(objectness) // 2)]


def motion_saliency(flows: np.ndarray, background: np.ndarray) -> np.ndarray:
    """M(s) = min over background seeds b of ‖o(s) − o(b)‖², divided by its maximum over the seeds.

    `flows` is n,2, `background` holds rows of it. All zero where nothing moves unlike the background by more than the
    rounding of means (STILL), or where there is none to compare with.
    """
    if not len(background):
        return np.zeros(len(flows))
    distances = ((flows[:, None] - flows[background]) ** 2).sum(2).min(1)
    largest = distances.max()
    return distances / largest if largest > STILL else np.zeros(len(flows))
