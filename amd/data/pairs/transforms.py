"""The augmentation of training pairs (paper 4.1): what happens to one frame happens to the other.

A frame pair of any size enters; a pair of square crops leaves: at the scale at which the frame's short edge is
`short_edge` times a ratio from [min_ratio, 1], at one random place, mirrored half of the time. The crop's window is
cut out before it is resized: the rest of the frame would be resized for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class PairTransform:
    """Paired resize, crop and flip; sizes in pixels."""

    short_edge: int
    min_ratio: float
    crop: int

    def __call__(
        self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator, maps: Sequence[np.ndarray] = ()
    ) -> tuple[np.ndarray, ...]:
        """Two uint8 frames H,W,3 of one size → two uint8 crops crop,crop,3, contiguous.

        `maps` uint8 h,w, which cover the same frame on grids of their own, are changed alike, and follow as
        crop,crop. All draws come from `rng`: ratio, row, column, flip. Raises ValueError when the sizes differ.
        """
        if first.shape != second.shape:
            raise ValueError(f"frames of one pair have the shapes {first.shape} and {second.shape}")
        height, width = first.shape[:2]
        scale = self.short_edge * rng.uniform(self.min_ratio, 1.0) / min(height, width)
        edge = min(round(self.crop / scale), height, width)  # of the window that becomes the crop
        top = rng.integers(height - edge + 1)
        left = rng.integers(width - edge + 1)
        mirrored = rng.random() < 0.5

        def apply(frame: np.ndarray) -> np.ndarray:
            crop = resize(frame[top : top + edge, left : left + edge], self.crop, self.crop)
            return cv2.flip(crop, 1) if mirrored else np.ascontiguousarray(crop)

        at_size = (cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR) for layer in maps)
        return apply(first), apply(second), *map(apply, at_size)


def resize(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a uint8 frame H,W,3 or map H,W linearly; by area below half the size: a linear filter misses pixels."""
    shrinks = 2 * width < frame.shape[1] or 2 * height < frame.shape[0]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
