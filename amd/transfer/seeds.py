"""A few points that stand for everything in a frame: candidates off the edges, then a diverse choice (section 3.2).

Points are flat indices into the grid h,w, row by row. Wherever several are equally good, the first one counts.
"""

import cv2
import numpy as np


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
