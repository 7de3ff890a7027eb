"""One soft mask from several opinions: what moves on its own, what looks like an object, what was fitted to the video.

Input: their probabilities, each h,w at any size, and the frame. Output: the object's probability at the frame's size.
Motion and a model of single images know nothing of each other, and err in different places: their odds multiply. What
is fitted to one video has their errors, too: it is averaged with them. The result is smoothed along edges by a
dense CRF, at the small size, where that is cheap.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from amd.config.fused import Fused
from amd.transfer.crf import refine

THRESHOLD = 0.5  # of a pixel's probability
NEVER_SURE = 0.01  # no opinion's probability is nearer to 0 or 1: one alone must not decide

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


def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The probability float32 h,w that two independent opinions come to together, at the first one's size."""
    second = resized(second, (first.shape[0], first.shape[1]))
    odds = [p / (1 - p) for p in np.clip([first, second], NEVER_SURE, 1 - NEVER_SURE)]
    return np.float32(1) - 1 / (1 + odds[0] * odds[1])


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
