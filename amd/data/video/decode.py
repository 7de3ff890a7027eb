"""Frames of one source, in order: strictly sequential decoding with resizing on the way.

Enters: a Source (a video file or an ordered folder of images), a short edge and a target rate. Leaves: an
iterator of upright RGB frames, the same whichever decoder reads them.

decord reads first; PyAV where decord cannot (AV1, GIF, MPEG-TS, platforms without decord), where frames stay
large (an open decord reader holds a whole group of pictures decoded, 250 frames and more; PyAV one), and from
the frame at which decord fails: decord then drops the good frames that it had decoded ahead, more or fewer of
them from run to run. Left alone, decord also repeats the last frame until the container's count is reached,
where an edit list hides frames or damage took some; it is told to fail instead.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from amd.data.images import image_size, read_image
from amd.data.video.probe import ProbeError, best_video, error_text, frame_times, open_container, probe
from amd.runtime.errors import UserError

try:
    import decord
except ImportError:  # no wheel for this platform
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

FOLDER_FPS = 24.0  # a frame folder has no clock
DECORD_MAX_PIXELS = 320 * 240  # of a frame: above, PyAV is as fast, and decord's frames in advance pass 60 MB
NO_REPEATS = 1e-9  # of all frames: the share of made-up ones at which decord fails
CLOCK_ERROR = 0.0015  # seconds: Matroska rounds times to milliseconds


@dataclass(frozen=True)
class Source:
    """One input: a video file, or an ordered folder of frames."""

    video_id: str  # of A-Za-z0-9_- alone
    path: Path
    frame_names: tuple[str, ...] | None = None  # None: a video file
    problem: str = ""  # why it cannot be read, when that was plain before opening it
    decoder: Literal["pyav"] | None = None  # None: the first that can; "pyav" repeats damaged videos exactly

    @property
    def is_one_image(self) -> bool:
        """Whether it is a single image, which has no motion."""
        return self.frame_names is not None and len(self.frame_names) == 1


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # in the source, from 0
    timestamp: float  # seconds from the first frame
    image: np.ndarray  # uint8 H,W,3 RGB, upright
    decoder: Literal["decord", "pyav", "images"]


class DecodeError(UserError):
    """A source that cannot be decoded, or not to its end; raised after its good frames were given."""

    def __init__(self, path: Path, reason: str, good_frames: int) -> None:
        extent = f"only the first {good_frames} frames decode" if good_frames else "no frame decodes"
        super().__init__(f"{path}: {extent} ({reason}); replace or remove it")
        self.path = path
        self.reason = reason
        self.good_frames = good_frames


def read_frames(source: Source, short_edge: int | None = None, fps: float | None = None) -> Iterator[Frame]:
    """Yield a source's frames in order; use the iterator in one thread, and close it to stop early.

    `short_edge` (pixels) shrinks frames while decoding and never enlarges them. `fps` picks the first frame
    at or after each tick of that rate, each frame at most once; None gives every frame. A frame folder has no
    clock and gives every image at any rate. Raises DecodeError, after the good frames.
    """
    good = 0
    ticks = _Ticks(None if source.frame_names is not None else fps)
    try:
        times = _times(source, fps)
        for index, (image, decoder) in enumerate(_images(source, short_edge)):
            good = index + 1
            timestamp = next(times)
            if ticks.reached(timestamp):
                yield Frame(index, timestamp, image, decoder)
    except _Broken as error:
        raise DecodeError(source.path, str(error), good) from None
    except ProbeError as error:
        raise DecodeError(source.path, error.reason, good) from None


def fit_size(width: int, height: int, short_edge: int | None) -> tuple[int, int]:
    """Width and height, to the nearest pixel, with `short_edge` for the shorter; never larger than given."""
    scale = 1.0 if short_edge is None else min(1.0, short_edge / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class _Broken(Exception):
    """Decoding cannot go on; the text says why, without the path."""


class _Ticks:
    """The ticks of a target rate, counted from the first frame."""

    def __init__(self, fps: float | None) -> None:
        self.fps = fps
        self.next = 0

    def reached(self, timestamp: float) -> bool:
        """Whether a frame at `timestamp` is the first at or after the next tick; then go past it."""
        if self.fps is None:
            return True
        passed = int((timestamp + CLOCK_ERROR) * self.fps)
        if passed < self.next:
            return False
        self.next = passed + 1
        return True


def _times(source: Source, fps: float | None) -> Iterator[float]:
    """Seconds of each frame, without end: as the container says, and on from there at the average rate."""
    times, rate = np.zeros(1), fps or FOLDER_FPS
    if source.frame_names is None and not source.problem:
        times = frame_times(source.path)
        rate = (len(times) - 1) / times[-1] if len(times) > 1 and times[-1] > 0 else FOLDER_FPS
    last = -1 / rate
    for last in times.tolist():
        yield last
    for ahead in count(1):
        yield last + ahead / rate


def _images(source: Source, short_edge: int | None) -> Iterator[tuple[np.ndarray, str]]:
    """Every image of a source, with the name of what decoded it."""
    if source.problem:
        raise _Broken(source.problem)
    if source.frame_names is not None:
        for image in _folder_images(source.path, source.frame_names, short_edge):
            yield image, "images"
        return
    facts = probe(source.path)
    if not facts.has_video:
        raise _Broken("no readable video stream")
    width, height = fit_size(facts.width, facts.height, short_edge)
    given = 0
    if decord is not None and source.decoder is None and width * height <= DECORD_MAX_PIXELS:
        try:
            for image in _decord_images(source.path, width, height):
                given += 1
                yield image, "decord"
        except _Broken:
            pass  # PyAV says what is wrong, and gives what decord lost
        else:
            return
    for image in islice(_pyav_images(source.path, width, height), given, None):
        yield image, "pyav"


def _decord_images(path: Path, width: int, height: int) -> Iterator[np.ndarray]:
    """decord from frame 0 on by `next` alone: seeking gives wrong frames. It rotates by itself."""
    try:
        name = os.fspath(path.absolute())
        reader = decord.VideoReader(name, width=width, height=height, num_threads=1, fault_tol=NO_REPEATS)
        while True:
            image = reader.next().asnumpy()
            if image.shape != (height, width, 3):  # at 24, 48 and 72 pixels of width it has four channels
                raise _Broken("decord")
            yield image
    except StopIteration:
        return
    except (RuntimeError, decord.DECORDError, decord.DECORDLimitReachedError, UnicodeEncodeError) as error:
        raise _Broken("decord") from error


def _pyav_images(path: Path, width: int, height: int) -> Iterator[np.ndarray]:
    """PyAV with decord's scaling, bilinear over a pixel's whole footprint; width and height as displayed."""
    scaler = VideoReformatter()  # one for all frames: building one costs more than a small frame
    with open_container(path) as container:
        stream = best_video(container)
        stream.codec_context.thread_count = 1
        try:
            for frame in container.decode(stream):
                quarters = round(frame.rotation / 90)  # anticlockwise; PyAV leaves turning to us
                size = (width, height) if quarters % 2 == 0 else (height, width)
                small = scaler.reformat(frame, *size, format="rgb24", interpolation=Interpolation.BILINEAR)
                yield np.ascontiguousarray(np.rot90(small.to_ndarray(), quarters))
        except (av.FFmpegError, ValueError) as error:
            raise _Broken(error_text(error)) from None


def _folder_images(folder: Path, names: tuple[str, ...], short_edge: int | None) -> Iterator[np.ndarray]:
    """The images of a frame folder, which must agree in size."""
    first = None
    for name in names:
        if not (folder / name).is_file():  # opening a pipe would wait for ever
            raise _Broken(f"{name}: no such image file")
        try:
            size = image_size(folder / name)  # from the header: nothing of another size is decoded
            if first is not None and size != first:
                raise _Broken(f"{name} is {size[1]}x{size[0]}, the frames before it {first[1]}x{first[0]}")
            first = size
            image = read_image(folder / name)
        except UserError as error:
            raise _Broken(str(error).removeprefix(f"{folder}/")) from None
        width, height = fit_size(size[1], size[0], short_edge)
        if (height, width) != size:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        yield image
