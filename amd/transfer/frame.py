"""What the method is given of one frame, on one grid (section 3.1).

The grid h,w is the embedding's own resolution; the image keeps its size H,W. Optical flow comes at the image's
size and is averaged to the grid, its vectors staying in pixels of the image.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from amd.errors import UserError


@dataclass(frozen=True)
class FrameFeatures:
    """One frame: its image, and per grid point its embedding, objectness and flow."""

    image: np.ndarray  # H,W,3 uint8 RGB
    embedding: np.ndarray  # h,w,D float32
    objectness: np.ndarray  # h,w float32, 0 to 1 (eq. 3)
    flow: np.ndarray  # h,w,2 float32, pixels of the image to the next frame, x then y


def frame_features(image: np.ndarray, embedding: np.ndarray, objectness: np.ndarray, flow: np.ndarray) -> FrameFeatures:
    """A checked frame, of which `flow` is H,W,2 at the image's size.

    Objectness of another resolution than the embedding is resized to it. Raises UserError for a flow of another
    size than the image, and for values that are not finite.
    """
    grid = embedding.shape[:2]
    if flow.shape != (*image.shape[:2], 2):
        raise UserError(
            f"optical flow of {_size(flow)} pixels for a frame of {_size(image)}; compute it at the frame's own size"
        )
    for name, values in (("embedding", embedding), ("objectness", objectness), ("optical flow", flow)):
        if not np.isfinite(values).all():
            raise UserError(f"{name}: has values that are not finite; check the network or the file that it came from")
    return FrameFeatures(
        image,
        embedding.astype(np.float32, copy=False),
        to_grid(objectness, grid),
        to_grid(flow, grid),
    )


def to_grid(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values H,W or H,W,C averaged over the cells of a grid of `size` (height, width), float32."""
    values = np.ascontiguousarray(values, np.float32)
    return values if values.shape[:2] == size else cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA)


def _size(values: np.ndarray) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"
