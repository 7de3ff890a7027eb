"""How probable the foreground is at every point, by the most similar seed of either side (eqs. 13 to 15).

Input: an embedding h,w,D and the embeddings of both sides' seeds. Output: P_fg h,w in 0 to 1, or at the image's size.
"""

import cv2
import numpy as np
from scipy.special import expit, log_expit, logit

from amd.transfer.seeds import squared_distances

SURE = 1e-6
DECIDED = 0.02


def foreground_probability(embedding: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """R_fg / (R_fg + R_bg) with `foreground` n,D and `background` m,D; zero where either side has no seed.

    Logarithms keep the ratio where both similarities vanish.
    """
    height, width, channels = embedding.shape
    if not len(foreground) or not len(background):
        return np.zeros((height, width), np.float32)
    points = embedding.reshape(-1, channels)
    sides = (squared_distances(points, seeds).min(1) for seeds in (foreground, background))
    foreground_log, background_log = (log_expit(-nearest) for nearest in sides)
    return expit(foreground_log - background_log).reshape(height, width)


def with_prior(probability: np.ndarray, evidence: np.ndarray, weight: float) -> np.ndarray:
    """The probability h,w under a prior: motion evidence h,w, whose log odds count `weight` times.

    Eq. 15 takes both sides for equally frequent; evidence knows better. It is kept DECIDED away from 0 and 1, so that
    embeddings may still say otherwise.
    """
    odds = logit(np.clip(probability, SURE, 1 - SURE)) + weight * logit(np.clip(evidence, DECIDED, 1 - DECIDED))
    return expit(odds).astype(np.float32)


def at_image_size(probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A probability h,w as float32 of `size` (height, width), between the grid's points bilinear."""
    return cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR)
