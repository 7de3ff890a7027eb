"""Frames of one source, in order: strictly sequential decoding with resizing on the way.

Input: a Source (a video file or an ordered folder of images), a short edge and a target rate. Output: an
iterator of upright RGB frames, the same whichever decoder reads them.

decord reads the containers in which it was shown to be right; of MPEG transport and program streams it loses the
first group of pictures, and a display matrix that mirrors it takes for its angle alone. PyAV reads the rest, large
frames (an open decord reader holds a whole group of pictures decoded, 250 frames and more; PyAV one), and takes over
where decord fails, which then has dropped good frames that it had decoded ahead, more or fewer of them from run to
run. PyAV then starts from frame 0 too, and goes on only where both agree on the last frame that was given. Left
alone, decord also repeats the last frame until the container's count is reached, where an edit list hides frames or
damage took some; it is told to fail instead. Ingest compares the decoders (amd.data.ingest.decoder_check).
"""

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np

from amd.data.images import image_size, read_image
from amd.data.video.animation import AnimationError, animation_frames
from amd.data.video.probe import PICTURES, Probe, ProbeError, frame_times, probe
from amd.data.video.pyav_frames import PyavError, pyav_pictures
from amd.runtime.errors import UserError

try:
    import decord
except ImportError:  # no wheel for this platform
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

FOLDER_FPS = 24.0  # a frame folder has no clock
DECORD_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"})
DECORD_MAX_PIXELS = 320 * 240  # of a frame: above, PyAV is as fast, and decord's frames in advance pass 60 MB
DECORD_MAX_FRAMES = 2_000_000  # a day and more; decord takes memory for as many as a header promises, which may lie
ROUNDING = 4.0  # mean difference of two decoders' pictures of one frame, of 255: they scale and turn in another order
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
    upright: bool = False  # of images: as their EXIF orientation says, not as stored

    @property
    def is_one_image(self) -> bool:
        """Whether it is a single image, which has no motion."""
        return self.frame_names is not None and len(self.frame_names) == 1


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # in the source, from 0; lost frames are counted too
    timestamp: float  # seconds from the first frame
    image: np.ndarray  # uint8 H,W,3 RGB, upright
    decoder: Literal["decord", "pyav", "images"]
    lost: int = 0  # frames between the one given before and this one that did not decode
    refitted: bool = False  # it has another size than the first frame, and black bars


class DecodeError(UserError):
    """A source that cannot be decoded, or not to its end; raised after its good frames were given."""

    def __init__(self, path: Path, reason: str, good_frames: int) -> None:
        extent = f"only the first {good_frames} frames decode" if good_frames else "no frame decodes"
        super().__init__(f"{path}: {extent} ({reason}); replace or remove it")
        self.path = path
        self.reason = reason
        self.good_frames = good_frames


def read_frames(
    source: Source, short_edge: int | None = None, fps: float | None = None, most: int | None = None
) -> Generator[Frame, None, None]:
    """Yield a source's frames in order; use the iterator in one thread, and close it to stop early.

    `short_edge` (pixels) shrinks frames while decoding and never enlarges them. `fps` picks the first frame
    at or after each tick of that rate, each frame at most once; None gives every frame. A frame folder has no
    clock and gives every image at any rate. `most` is the number of frames to decode at most. Raises DecodeError,
    after the good frames; frames lost before others are told by those.
    """
    index, good, lost = -1, 0, 0
    ticks = _Ticks(None if source.frame_names is not None else fps)
    try:
        clock = _Clock(source, fps)
        with closing(_images(source, short_edge)) as decoded:
            for image in islice(decoded, most):
                good += 1
                lost += image.lost
                index += 1 + image.lost
                timestamp = clock.time(index)
                if ticks.reached(timestamp):
                    yield Frame(index, timestamp, image.pixels, image.decoder, lost, image.refitted)
                    lost = 0
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


class _Clock:
    """Seconds of each frame: as the container says, and on from there at the average rate."""

    def __init__(self, source: Source, fps: float | None) -> None:
        self.times, self.rate = np.zeros(1), fps or FOLDER_FPS
        if source.frame_names is None and not source.problem:
            self.times = frame_times(source.path)
            known = len(self.times) > 1 and self.times[-1] > 0
            self.rate = (len(self.times) - 1) / self.times[-1] if known else FOLDER_FPS

    def time(self, index: int) -> float:
        """Seconds from the first frame to that of `index`."""
        if index < len(self.times):
            return float(self.times[index])
        last = float(self.times[-1]) if len(self.times) else -1 / self.rate
        return last + (index - len(self.times) + 1) / self.rate


@dataclass(frozen=True)
class _Image:
    """A decoded frame before it has its place and time; the fields are those of Frame."""

    pixels: np.ndarray
    decoder: Literal["decord", "pyav", "images"]
    lost: int = 0
    refitted: bool = False


def _images(source: Source, short_edge: int | None) -> Generator[_Image, None, None]:
    """Every image of a source, with the name of what decoded it."""
    if source.problem:
        raise _Broken(source.problem)
    if source.frame_names is not None:
        for image in _folder_images(source, short_edge):
            yield _Image(image, "images")
        return
    facts = probe(source.path)
    if not facts.has_video:
        raise _Broken("no readable video stream")
    size = fit_size(facts.width, facts.height, short_edge)
    if facts.container == PICTURES:
        yield from _animation_images(source.path, size)
    elif source.decoder is None and _decord_can(facts, size):
        yield from _decord_then_pyav(source.path, size)
    else:
        yield from _pyav_images(source.path, size)


def _decord_can(facts: Probe, size: tuple[int, int]) -> bool:
    """Whether decord is known to be right, and small enough, for such a video at `size` (width, height)."""
    known = facts.container in DECORD_CONTAINERS and not facts.mirrored
    small = size[0] * size[1] <= DECORD_MAX_PIXELS and (facts.frames_promised or 0) <= DECORD_MAX_FRAMES
    return decord is not None and known and small


def _decord_then_pyav(path: Path, size: tuple[int, int]) -> Iterator[_Image]:
    """decord, and from where it fails PyAV, which says what is wrong and gives what decord lost."""
    given = 0
    last: np.ndarray | None = None
    try:
        for last in _decord_images(path, *size):
            given += 1
            yield _Image(last, "decord")
        return
    except _Broken:
        pass
    place = 0
    for number, image in enumerate(_pyav_images(path, size)):
        place += 1 + image.lost
        if number == given - 1 and (place != given or not _alike(cast(np.ndarray, last), image.pixels)):
            raise _Broken("decord and PyAV give other frames; PyAV alone is to be trusted")
        if number >= given:
            yield image


def _alike(image: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(image.astype(np.int16) - other).mean()) < ROUNDING


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


def _pyav_images(path: Path, size: tuple[int, int]) -> Iterator[_Image]:
    try:
        with closing(pyav_pictures(path, *size)) as pictures:
            for picture in pictures:
                yield _Image(picture.image, "pyav", picture.lost, picture.refitted)
    except PyavError as error:
        raise _Broken(str(error)) from None


def _animation_images(path: Path, size: tuple[int, int]) -> Iterator[_Image]:
    """The frames of an animated WebP or AVIF."""
    try:
        for image in animation_frames(path):
            yield _Image(shrunk(image, size), "images")
    except AnimationError as error:
        raise _Broken(str(error)) from None


def _folder_images(source: Source, short_edge: int | None) -> Iterator[np.ndarray]:
    """The images of a frame folder, which must agree in size."""
    folder, names = source.path, cast(tuple[str, ...], source.frame_names)
    first = None
    for name in names:
        if not (folder / name).is_file():  # opening a pipe would wait for ever
            raise _Broken(f"{name}: no such image file")
        try:
            size = image_size(folder / name, source.upright)  # from the header: nothing of another size is decoded
            if first is not None and size != first:
                raise _Broken(f"{name} is {size[1]}x{size[0]}, the frames before it {first[1]}x{first[0]}")
            first = size
            image = read_image(folder / name, source.upright)
        except UserError as error:
            raise _Broken(str(error).removeprefix(f"{folder}/")) from None
        yield shrunk(image, fit_size(size[1], size[0], short_edge))


def shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at `size` (width, height), which is no larger than its own."""
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
