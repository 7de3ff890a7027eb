"""Rows without learning, scored on the frames that models are: a fixed centre box, and what moves unlike the camera.

Input: frames uint8 RGB H,W,3. Output: bool masks H,W.
"""

import cv2
import numpy as np

from amd.data.benchmarks.sequences import BenchmarkFrame, Sequence
from amd.data.images import read_image
from amd.motion.flow import inverse_search

BOX_SHARE = 0.5  # of the height and of the width: a quarter of the frame's area
GRID = 8  # pixels between the flow vectors that the homography is fitted to
INLIER = 1.0  # pixels a background vector may lie off the homography


def centre_box(height: int, width: int) -> np.ndarray:
    """A centred box of half the height and half the width, whatever the frame shows."""
    box_height, box_width = round(height * BOX_SHARE), round(width * BOX_SHARE)
    top, left = (height - box_height) // 2, (width - box_width) // 2
    mask = np.zeros((height, width), bool)
    mask[top : top + box_height, left : left + box_width] = True
    return mask


def flow_outliers(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where the flow from `first` to `second` is not that of the camera.

    Dense inverse search flow minus the homography that RANSAC fits to it; the length of the rest is thresholded by
    Otsu's method. Nothing is outlying where no homography fits, as in a few pixels, or all of the rest is equal.
    """
    flow = inverse_search(first, second)
    height, width = flow.shape[:2]
    points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    sampled = points[GRID // 2 :: GRID, GRID // 2 :: GRID], flow[GRID // 2 :: GRID, GRID // 2 :: GRID]
    start = sampled[0].reshape(-1, 2)
    cv2.setRNGSeed(0)  # the same mask every time
    end = start + sampled[1].reshape(-1, 2)
    homography = cv2.findHomography(start, end, cv2.RANSAC, INLIER)[0] if len(start) >= 4 else None
    if homography is None:
        return np.zeros((height, width), bool)
    camera = cv2.perspectiveTransform(points.reshape(1, -1, 2), homography).reshape(points.shape) - points
    rest = np.linalg.norm(flow - camera, axis=2)
    levels = (255 * rest / max(float(rest.max()), 1e-6)).astype(np.uint8)
    threshold = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0]
    return levels > threshold


def baseline_mask(name: str, sequence: Sequence, frame: BenchmarkFrame, size: tuple[int, int]) -> np.ndarray:
    """The mask of baseline `name` (a key of BASELINES) for a frame of `size` (height, width).

    Flow goes to the next frame, from the last frame to the one before; one lone frame gives the empty mask.
    """
    if name == "centre_box":
        return centre_box(*size)
    index = sequence.frames.index(frame)
    other = index + 1 if index + 1 < len(sequence.frames) else index - 1
    if other < 0:
        return np.zeros(size, bool)
    return flow_outliers(read_image(frame.image), read_image(sequence.frames[other].image))


BASELINES = {
    "centre_box": "none: a centred box of half the height and half the width",
    "flow_outliers": "none: dense inverse search flow minus its RANSAC homography, thresholded by Otsu",
}
