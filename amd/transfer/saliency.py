"""Which seeds move unlike the background (eq. 7).

Input: flow h,w,2 in pixels and regions h,w (the number of each point's seed). Output: a saliency in 0 to 1 per seed.
"""

import numpy as np

STILL = 1e-6  # squared pixels: what moves less than a thousandth of a pixel unlike the background moves with it


def region_flow(flow: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    """o(s): mean flow of each of `count` regions, count,2."""
    areas = np.bincount(regions.ravel(), minlength=count)
    sums = [np.bincount(regions.ravel(), flow[..., axis].ravel(), count) for axis in (0, 1)]
    return np.stack(sums, axis=1) / areas[:, None]


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
