"""Masks drawn over their frames, for people to look at (amd.draw.video makes a video of such frames).

Input: a frame uint8 RGB H,W,3 with its mask bool H,W. Output: the frame with the mask tinted and outlined.
"""

import cv2
import numpy as np

COLOUR = (255, 64, 32)  # of the tint and the outline, RGB
OPACITY = 0.45  # of the tint
OUTLINE = 240  # the outline is this part of the short edge wide


def draw_mask(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = COLOUR) -> np.ndarray:
    """A copy of `image` uint8 H,W,3 with `mask` bool H,W tinted and outlined in `colour` (RGB)."""
    drawn = image.copy()
    tint = np.array(colour, np.float32) * OPACITY
    drawn[mask] = (image[mask] * np.float32(1 - OPACITY) + tint).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(min(mask.shape) / OUTLINE))
    return cv2.drawContours(drawn, contours, -1, colour, width, cv2.LINE_AA)
