"""What a video's container says about itself, before a frame is decoded.

Input: the path of a video file. Output: a Probe, or the display times of its frames. Read through PyAV,
from local files of the listed container formats alone: FFmpeg also opens playlists, which name other files
and addresses, and a downloaded "video" may be one.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from amd.data.video.animation import AnimationError, AnimationFacts, animation_facts, needs_pillow
from amd.data.video.orientation import Orientation, orientation_of
from amd.runtime.errors import UserError

# Demuxers by FFmpeg's names, none of which opens another file or address; the audio formats only so that they are
# recognised as sound.
FORMATS = "mov,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,asf,flv,ogg,mxf,ivf,yuv4mpegpipe,rm,dv,mp3,wav,flac,aac"
PICTURES, AVI = "pictures", "avi"
SAFE = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


class ProbeError(UserError):
    """A file that is no readable video container."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: not a readable video ({reason}); replace or remove it")
        self.reason = reason


@dataclass(frozen=True)
class Probe:
    """Facts of the best video stream; of a file without one, `has_video` is False and the rest is empty."""

    has_video: bool
    container: str = ""  # FFmpeg's name of the format; PICTURES of an animation that Pillow reads
    codec: str = ""
    width: int = 0  # pixels as displayed: after rotation, pixels taken as square
    height: int = 0
    rotation: int = 0  # degrees clockwise that the container asks for, after mirroring: 0, 90, 180 or 270
    mirrored: bool = False  # left to right, before the rotation
    fps: float | None = None
    frames_promised: int | None = None  # None: the container does not count (Matroska, WebM, MPEG-TS)
    duration_s: float | None = None


def probe(path: Path) -> Probe:
    """Read the facts of a video file; ProbeError when it is not a readable container."""
    if needs_pillow(path):
        return _probe_animation(path)
    with open_container(path) as container:
        stream = best_video(container)
        if stream is None or stream.width == 0 or stream.height == 0:
            return Probe(has_video=False)
        orientation, (width, height) = _as_displayed(container, stream)
        return Probe(
            has_video=True,
            container=container.format.name,
            codec=stream.codec.canonical_name,
            width=width,
            height=height,
            rotation=orientation.degrees,
            mirrored=orientation.mirrored,
            fps=_number(stream.average_rate or stream.guessed_rate),
            frames_promised=stream.frames or None,
            duration_s=_duration(container, stream),
        )


def frame_times(path: Path) -> np.ndarray:
    """Seconds from the first frame to each frame, in display order, as float64 of shape N.

    From the packets, not the decoders: decord's times are garbage where a container has no presentation
    times (AVI), and PyAV's come out of order there. Of a damaged file, what is readable.
    """
    if needs_pillow(path):
        return np.array(_animation(path).times)
    with open_container(path) as container:
        stream = best_video(container)
        if stream is None:
            return np.zeros(0)
        ticks, _ = _ticks(container, stream)
        known = np.array(ticks, dtype=np.float64)
        return (known - known[:1]) * float(cast(Fraction, stream.time_base))


def presentation_ticks(path: Path) -> list[int] | None:
    """Each frame's presentation time in ticks of its stream, in order; None where the container has none.

    AVI never has: what FFmpeg says of it is counted from the packets.
    """
    with open_container(path) as container:
        ticks, shown = _ticks(container, cast(VideoStream, best_video(container)))
        return ticks if shown and container.format.name != AVI else None


def trimmed_frames(path: Path) -> int:
    """How many of the promised frames an edit list hides; a player shows none of them."""
    if needs_pillow(path):
        return 0
    with open_container(path) as container:
        stream = best_video(container)
        return 0 if stream is None else sum(packet.is_discard for packet in _packets(container, stream))


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a local video file with PyAV; ProbeError naming `path` when that fails."""
    try:
        container = av.open(os.fspath(path.absolute()), options=SAFE, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise ProbeError(path, error_text(error)) from None
    with container:
        yield container


def best_video(container: InputContainer) -> VideoStream | None:
    """The stream that FFmpeg's rule, and so decord, prefers; a cover picture is none."""
    stream = cast(VideoStream | None, container.streams.best("video"))
    if stream is None or stream.disposition & Disposition.attached_pic:
        return None
    return stream if stream.codec_context is not None else None


def error_text(error: Exception) -> str:
    """PyAV's error in FFmpeg's own words, without the path and the number."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """The packets that hold a frame; of a damaged file, those before the damage."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def _ticks(container: InputContainer, stream: VideoStream) -> tuple[list[int], bool]:
    """The sorted times of the shown packets, and whether they are presentation times or, failing those, decoding's."""
    times = [(packet.pts, packet.dts) for packet in _packets(container, stream) if not packet.is_discard]
    shown = all(presented is not None for presented, _ in times)
    ticks = [presented if shown else decoded for presented, decoded in times]
    return sorted(tick for tick in ticks if tick is not None), shown


def _as_displayed(container: InputContainer, stream: VideoStream) -> tuple[Orientation, tuple[int, int]]:
    """How the picture is turned, and its width and height then.

    FFmpeg attaches the display matrix to frames, so one is decoded: the first that can be.
    """
    orientation = Orientation()
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):
            with suppress(av.FFmpegError, ValueError):
                if frames := packet.decode():
                    orientation = orientation_of(frames[0])
                    break
    return orientation, orientation.size(stream.width, stream.height)


def _probe_animation(path: Path) -> Probe:
    facts = _animation(path)
    return Probe(
        has_video=True,
        container=PICTURES,
        codec=facts.codec,
        width=facts.width,
        height=facts.height,
        fps=len(facts.times) / facts.duration_s,
        frames_promised=len(facts.times),
        duration_s=facts.duration_s,
    )


def _animation(path: Path) -> AnimationFacts:
    try:
        return animation_facts(path)
    except AnimationError as error:
        raise ProbeError(path, str(error)) from None


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration:
        return float(stream.duration * cast(Fraction, stream.time_base))
    return container.duration / av.time_base if container.duration else None


def _number(rate: Fraction | None) -> float | None:
    return float(rate) if rate and math.isfinite(rate) else None
