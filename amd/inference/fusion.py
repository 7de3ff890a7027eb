"""One soft mask from several opinions: what moves and looks like an object, and what was fitted to the video.

Input: their probabilities, each h,w at any size, and the frame. Output: the object's probability at the frame's size.
What is fitted to a video has the errors of what it was fitted to (amd.motion.together): it is averaged with that. The
result is smoothed along edges by a dense CRF, at the small size, where that is cheap.
"""

from collections.abc import Sequence

import numpy as np

from amd.config.fused import Fused
from amd.data.sizes import resized, small_size
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
