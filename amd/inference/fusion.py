"""One soft mask from two opinions: what moves on its own (evidence), and what looks like that (appearance).

Input: their probabilities, each h,w at any size, and the frame. Output: the object's probability at the frame's size.
Where a frame does not tell motion, appearance knows; where appearance is ambiguous, motion knows: their mean has fewer
errors than either. It is smoothed along the image's edges by a dense CRF, at the small size, where that is cheap.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from amd.config.fused import Fused
from amd.transfer.crf import refine

THRESHOLD = 0.5  # of a pixel's probability

Opinion = tuple[float, np.ndarray]  # a weight, and a probability float32 h,w


def fuse(opinions: Sequence[Opinion], image: np.ndarray, settings: Fused) -> np.ndarray:
    """The object's probability float32 H,W in a frame uint8 H,W,3: the opinions' mean, smoothed."""
    size = small_size(image.shape, settings.short_edge)
    mean = mean_of(opinions, size)
    if settings.crf is not None:
        mean = refine(mean, resized(image, size), settings.crf)
    return resized(mean, (image.shape[0], image.shape[1]))


def mean_of(opinions: Sequence[Opinion], size: tuple[int, int] | None = None) -> np.ndarray:
    """The mean of opinions under their weights, at `size` (height, width), else at that of the last."""
    size = size or opinions[-1][1].shape
    total = sum(weight for weight, _ in opinions)
    return np.stack([weight / total * resized(values, size) for weight, values in opinions]).sum(0, dtype=np.float32)


def small_size(shape: tuple[int, ...], short_edge: int) -> tuple[int, int]:
    """Height and width at which a frame of `shape` H,W,... has the short edge given; a smaller frame keeps its size."""
    height, width = shape[:2]
    scale = min(1.0, short_edge / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values H,W or H,W,3 at `size` (height, width): means of areas when smaller, bilinear when larger."""
    if values.shape[:2] == size:
        return values
    smaller = size[0] < values.shape[0]
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
