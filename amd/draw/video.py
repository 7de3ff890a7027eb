"""Videos of drawn frames, encoded as they come: H.264 in MP4, and two codings that keep transparency.

Input: frames uint8 H,W,3 (RGB) or H,W,4 (RGBA, not premultiplied), all of one size, with their times. Output: a file
that is whole or absent, in which every frame keeps its time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

from amd.runtime.files import atomic_path


@dataclass(frozen=True)
class Coding:
    """A codec in a container."""

    codec: str
    container: str
    suffix: str
    pixels: str  # FFmpeg's pixel format
    clock: int  # ticks a second
    options: dict[str, str]
    container_options: dict[str, str] = field(default_factory=dict)
    even: bool = False  # the codec takes even sizes alone: the last row and column are repeated


H264 = Coding(
    *("libx264", "mp4", ".mp4", "yuv420p", 90_000),
    {"crf": "20", "preset": "veryfast", "x264-params": "cpu-independent=1"},  # no blocks to see; always the same bytes
    {"movflags": "faststart"},  # plays while it still loads
    even=True,
)
VP9_SMALL = Coding(  # clips inside a page
    *("libvpx-vp9", "webm", ".webm", "yuv420p", 1000),
    {"crf": "38", "b": "0", "deadline": "realtime", "cpu-used": "6", "lag-in-frames": "0"},
    even=True,
)
VP9_ALPHA = Coding(
    *("libvpx-vp9", "webm", ".webm", "yuva420p", 1000),  # WebM's own clock
    # Frames that the encoder reorders (auto-alt-ref) cannot carry transparency; without lag it holds no frames back.
    {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"},
)
PRORES_ALPHA = Coding(  # on one thread: on several its transparency is wrong in some frames, now and then
    "prores_ks",
    "mov",
    ".mov",
    "yuva444p10le",
    90_000,
    {"profile": "4444", "alpha_bits": "16", "vendor": "apl0", "threads": "1"},
)


def alpha_coding() -> Coding:
    """The coding of videos with transparency: VP9, or ProRes 4444 where this FFmpeg has no such VP9."""
    try:
        formats = av.codec.Codec(VP9_ALPHA.codec, "w").video_formats or []
    except av.codec.codec.UnknownCodecError:
        formats = []
    return VP9_ALPHA if any(known.name == VP9_ALPHA.pixels for known in formats) else PRORES_ALPHA


class EncodedVideo:
    """A stream of frames in an open container."""

    def __init__(self, container: OutputContainer, coding: Coding) -> None:
        self.container = container
        self.coding = coding
        self.stream: av.VideoStream | None = None
        self.last = -1  # tick of the frame before

    def write(self, image: np.ndarray, timestamp: float) -> None:
        """Append a frame uint8 H,W,3 or H,W,4 shown from `timestamp` (seconds from the first frame) on."""
        if self.coding.even:
            height, width = image.shape[:2]
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self.stream is None:
            self.stream = self._open(*image.shape[1::-1])
        frame = av.VideoFrame.from_ndarray(image, format="rgb24" if image.shape[2] == 3 else "rgba")
        self.last = frame.pts = max(round(timestamp * self.coding.clock), self.last + 1)
        frame.time_base = Fraction(1, self.coding.clock)
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))

    def _open(self, width: int, height: int) -> av.VideoStream:
        stream = self.container.add_stream(self.coding.codec, rate=30, options=self.coding.options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, self.coding.pixels
        stream.codec_context.time_base = Fraction(1, self.coding.clock)
        return stream


@contextmanager
def encoded_video(path: Path, coding: Coding = H264) -> Iterator[EncodedVideo]:
    """Open a video for writing; `path` appears, whole, when the body has ended well."""
    with (
        atomic_path(path) as part,
        av.open(str(part), "w", format=coding.container, options=coding.container_options) as container,
    ):
        video = EncodedVideo(container, coding)
        yield video
        video.finish()
