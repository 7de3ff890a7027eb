"""How alike embeddings are (eq. 1), and where they change (eq. 4).

In, embeddings float32 with D channels; out, squared Euclidean distances, similarities R in (0, 1] and edge maps.
"""

import numpy as np
from scipy.special import expit


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
