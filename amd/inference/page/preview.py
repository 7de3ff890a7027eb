"""What the page plays: one video with the frame above and the object's probability below, for one and the same time.

Input: masked frames in order. Output: preview.mp4, or preview.png of a photo, at most LONGEST pixels wide or high (a
half). The page draws overlay, cut-out and mask from it at any threshold; two videos would not stay in step.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from amd.data.images import write_image
from amd.draw.video import H264, encoded_video
from amd.inference.export import MaskedFrame

LONGEST = 960  # pixels
HALF = 0.5  # the threshold at which a mask is the method's own
MARGIN = 0.04  # of probability around it, more than the encoder's noise
CODING = replace(H264, options={**H264.options, "g": "15"})  # a key frame often, for a slider to jump to


def previewed(frames: Iterable[MaskedFrame], folder: Path, one_image: bool = False) -> Iterator[MaskedFrame]:
    """The frames as they come; the preview is in `folder` once the last one was taken."""
    if one_image:
        for frame in frames:
            write_image(folder / "preview.png", stacked(frame))
            yield frame
        return
    with encoded_video(folder / "preview.mp4", CODING) as video:
        for frame in frames:
            video.write(stacked(frame), frame.timestamp)
            yield frame


def stacked(frame: MaskedFrame) -> np.ndarray:
    """uint8 2h,w,3: the frame, and below it the probability as grey; h and w are even."""
    height, width = frame.mask.shape
    scale = min(1.0, LONGEST / max(height, width))
    size = _even(width * scale), _even(height * scale)
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(shown_soft(frame), size, interpolation=cv2.INTER_AREA)
    grey = np.rint(soft * 255).astype(np.uint8)
    return np.vstack((image, np.repeat(grey[..., None], 3, axis=2)))


def shown_soft(frame: MaskedFrame) -> np.ndarray:
    """The probability float32 H,W, on the mask's own side of HALF; 0 in a frame whose mask is refused."""
    if frame.reason:
        return np.zeros(frame.mask.shape, np.float32)
    soft = frame.mask.astype(np.float32) if frame.soft is None else frame.soft
    return np.where(frame.mask, np.maximum(soft, HALF + MARGIN), np.minimum(soft, HALF - MARGIN)).astype(np.float32)


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))
