"""Masks drawn over their frames, for people to look at: as pictures and as an H.264 video.

Enters: frames uint8 RGB H,W,3 with their bool masks H,W and times. Leaves: drawn frames, or an MP4 that any player
shows: the size is made even by repeating the last row or column, and every frame keeps its time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer

from amd.runtime.files import atomic_path

COLOUR = (255, 64, 32)  # of the tint and the outline, RGB
OPACITY = 0.45  # of the tint
OUTLINE = 240  # the outline is this part of the short edge wide
CLOCK = 90_000  # ticks a second
QUALITY = "20"  # x264's constant rate factor: no blocks to see


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of `image` uint8 H,W,3 with `mask` bool H,W tinted and outlined."""
    drawn = image.copy()
    tint = np.array(COLOUR, np.float32) * OPACITY
    drawn[mask] = (image[mask] * np.float32(1 - OPACITY) + tint).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(min(mask.shape) / OUTLINE))
    return cv2.drawContours(drawn, contours, -1, COLOUR, width, cv2.LINE_AA)


class OverlayVideo:
    """An H.264 stream of drawn frames; all of one size."""

    def __init__(self, container: OutputContainer) -> None:
        self.container = container
        self.stream: av.VideoStream | None = None
        self.last = -1  # tick of the frame before

    def write(self, image: np.ndarray, timestamp: float) -> None:
        """Append a frame uint8 RGB H,W,3 shown from `timestamp` (seconds from the first frame) on."""
        height, width = image.shape[:2]
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self.stream is None:
            self.stream = self._open(*image.shape[1::-1])
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        self.last = frame.pts = max(round(timestamp * CLOCK), self.last + 1)
        frame.time_base = Fraction(1, CLOCK)
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))

    def _open(self, width: int, height: int) -> av.VideoStream:
        stream = self.container.add_stream("libx264", rate=30, options={"crf": QUALITY, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, CLOCK)
        return stream


@contextmanager
def overlay_video(path: Path) -> Iterator[OverlayVideo]:
    """Open an MP4 for writing; `path` appears, whole, when the body has ended well."""
    options = {"movflags": "faststart"}  # plays while it still loads
    with atomic_path(path) as part, av.open(str(part), "w", format="mp4", options=options) as container:
        video = OverlayVideo(container)
        yield video
        video.finish()
