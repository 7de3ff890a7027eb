"""Images and maps at another size. Input and output: H,W or H,W,3."""

import cv2
import numpy as np


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
