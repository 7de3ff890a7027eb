"""The augmentation of training pairs (paper 4.1): what happens to one frame happens to the other.

A frame pair of any size enters; a pair of square crops leaves: resized so that the short edge is
`short_edge` times a ratio from [min_ratio, 1], cropped at one random place, mirrored half of the time.
"""

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
        self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two uint8 frames H,W,3 of one size → two uint8 crops crop,crop,3, contiguous.

        All draws come from `rng`: ratio, row, column, flip. Raises ValueError when the sizes differ.
        """
        if first.shape != second.shape:
            raise ValueError(f"frames of one pair have the shapes {first.shape} and {second.shape}")
        width, height = self._resized(*first.shape[:2], ratio=rng.uniform(self.min_ratio, 1.0))
        top = rng.integers(height - self.crop + 1)
        left = rng.integers(width - self.crop + 1)
        step = -1 if rng.random() < 0.5 else 1

        def apply(frame: np.ndarray) -> np.ndarray:
            frame = resize(frame, width, height)[top : top + self.crop, left : left + self.crop]
            return np.ascontiguousarray(frame[:, ::step])

        return apply(first), apply(second)

    def _resized(self, height: int, width: int, ratio: float) -> tuple[int, int]:
        """Width and height after the resize; rounding never makes either smaller than the crop."""
        scale = self.short_edge * ratio / min(height, width)
        return max(self.crop, round(width * scale)), max(self.crop, round(height * scale))


def resize(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a uint8 frame H,W,3: by area when it shrinks (no aliasing), linearly when it grows."""
    shrinks = width * height < frame.shape[0] * frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
