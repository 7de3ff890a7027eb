"""The frames of a video by PyAV, whatever happens on the way.

Input: the path of a video and the size wanted. Output: upright RGB frames of that one size. A packet that does not
decode is passed over, as FFmpeg does, and counted with the next frame; a frame of another size than the first is
fitted into the first one's, with black bars.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from amd.data.video.orientation import orientation_of
from amd.data.video.probe import best_video, error_text, open_container


class Picture(NamedTuple):
    """One decoded frame."""

    image: np.ndarray  # uint8 H,W,3 RGB, upright
    pts: int | None  # presentation time in ticks of the stream
    lost: int  # frames just before it that did not decode
    refitted: bool  # it has another size than the first frame


class PyavError(Exception):
    """Decoding cannot go on, or nothing after the frames that were given decodes; the text says why."""


def pyav_pictures(path: Path, width: int, height: int, start: int | None = None) -> Generator[Picture, None, None]:
    """Every frame in display order at `width` x `height` pixels as displayed.

    `start` is a presentation time: decoding begins at the last key frame before it instead of the first frame.
    Raises PyavError after the good frames, ProbeError for what is no video.
    """
    with open_container(path) as container:
        stream = cast(VideoStream, best_video(container))
        stream.codec_context.thread_count = 1  # an error is then of the packet that was just given
        if start is not None:
            _seek(container, stream, start)
        fitter, losses = _Fitter(width, height), _Losses()
        for frame in _decoded(container, stream, losses):
            lost = losses.before(frame.pts)
            try:
                image, refitted = fitter.fit(frame)
            except (av.FFmpegError, ValueError) as error:
                raise PyavError(error_text(error)) from None
            yield Picture(image, frame.pts, lost, refitted)
        if losses.reason:
            raise PyavError(losses.reason)


class _Losses:
    """The packets that did not decode since the last frame before which they belong."""

    def __init__(self) -> None:
        self.times: list[int | None] = []
        self.reason = ""  # of the last of them; empty when frames followed all

    def add(self, packet: av.Packet, reason: str) -> None:
        """Note a packet; one that an edit list hides is no loss."""
        if not packet.is_discard:
            self.times.append(packet.pts)
            self.reason = reason

    def before(self, pts: int | None) -> int:
        """How many lost frames come just before the frame of time `pts`; they are then done with."""
        if not self.times:
            return 0
        later: list[int | None] = [time for time in self.times if time is not None and pts is not None and time > pts]
        count = len(self.times) - len(later)
        self.times = later
        if not later:
            self.reason = ""
        return count


class _Fitter:
    """Scales frames to one size, decord's way: bilinear over a pixel's whole footprint."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)  # as displayed
        self.first: tuple[int, int] | None = None  # frame's own size, as displayed
        self.scaler = VideoReformatter()  # one for all frames: building one costs more than a small frame

    def fit(self, frame: VideoFrame) -> tuple[np.ndarray, bool]:
        """The frame upright at the size wanted, and whether its own size is not the first one's."""
        orientation = orientation_of(frame)
        own = orientation.size(frame.width, frame.height)
        self.first = self.first or own
        inner = self.size if own == self.first else _inside(own, self.size)
        small = self.scaler.reformat(
            frame, *orientation.size(*inner), format="rgb24", interpolation=Interpolation.BILINEAR
        )
        return _on_black(orientation.upright(small.to_ndarray()), self.size), own != self.first


def _decoded(container: InputContainer, stream: VideoStream, losses: _Losses) -> Iterator[VideoFrame]:
    """The frames of every packet that decodes; `losses` hears of the others."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except (av.FFmpegError, ValueError) as error:
                losses.add(packet, error_text(error))
    except av.FFmpegError as error:  # of the container: nothing behind it can be found
        raise PyavError(error_text(error)) from None


def _seek(container: InputContainer, stream: VideoStream, start: int) -> None:
    """Go to the last key frame before `start`. The first frame is decoded before: it says what the decoder has to know.

    (x264 writes its version there alone, and FFmpeg reads 4:4:4 pictures of old versions in another way.)
    """
    next(_decoded(container, stream, _Losses()), None)
    try:
        container.seek(start, stream=stream)
    except av.FFmpegError as error:
        raise PyavError(error_text(error)) from None


def _inside(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The largest width and height of `size`'s proportions in `room`."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _on_black(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image in the middle of a black one of `size` (width, height); itself where it fills it."""
    (width, height), (rows, columns) = size, image.shape[:2]
    if (columns, rows) == size:
        return image
    whole = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    whole[top : top + rows, left : left + columns] = image
    return whole
