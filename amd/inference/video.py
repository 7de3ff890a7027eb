"""A source as the ways of segmenting see it: its frames from the start as often as they ask, and what is noticed.

Input: a source and the part of it that is wanted. Output: frames in order, one at a time, with a progress line for
each time they are read; what is damaged, lost or doubtful is kept to be told at the end.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from amd.data.video.decode import FOLDER_FPS, DecodeError, Frame, Source, read_frames
from amd.data.video.flaws import Flaws
from amd.data.video.probe import probe
from amd.runtime.errors import UserError
from amd.runtime.progress import progress


@dataclass(frozen=True)
class Span:
    """The part of a video that is wanted."""

    start: float = 0.0  # seconds; frames before are left out
    end: float | None = None  # seconds; frames from there on are left out
    every: int = 1  # of the frames between, the first and every `every`-th after it

    def __post_init__(self) -> None:
        """UserError for a part that holds nothing."""
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            end = "" if self.end is None else f" --end {self.end:g}"
            raise UserError(f"--start {self.start:g}{end}: the end must lie after the start, both from 0")
        if self.every < 1:
            raise UserError(f"--every {self.every}: give 1 or more")

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self == Span()

    def of(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The wanted ones of `frames`."""
        count = 0
        for frame in frames:
            if self.end is not None and frame.timestamp >= self.end:
                return
            if frame.timestamp >= self.start:
                if count % self.every == 0:
                    yield frame
                count += 1

    def count(self, frames: int, fps: float) -> int:
        """How many of so many frames at a rate are wanted, about."""
        last = frames if self.end is None else min(frames, math.ceil(self.end * fps))
        return max(0, math.ceil((last - math.ceil(self.start * fps)) / self.every))


@dataclass
class Video:
    """A source while it is segmented."""

    source: Source
    span: Span = field(default_factory=Span)
    promised: int | None = None  # frames, as the container or the folder says
    expected: int | None = None  # frames that are wanted of them, about; for who waits
    kept: Callable[[str], np.ndarray | None] = lambda name: None  # the mask of a frame that was written before
    notes: list[str] = field(default_factory=list)  # what a user should know of the masks
    damage: str = ""  # why no more frames decode
    flaws: Flaws = field(default_factory=Flaws)  # lost frames, and frames of another size
    quiet: bool = False  # no progress line
    _begun: bool = False  # whether the frames were read before

    @classmethod
    def of(cls, source: Source, span: Span | None = None, **more: Any) -> Self:
        """A source with what its container says of it."""
        span = span or Span()
        if source.frame_names is not None:
            count = len(source.frame_names)
            return cls(source, span, count, span.count(count, FOLDER_FPS) or None, **more)
        facts = probe(source.path)
        rate = facts.fps or FOLDER_FPS
        about = facts.frames_promised or round((facts.duration_s or 0) * rate)  # Matroska does not count its frames
        return cls(source, span, facts.frames_promised, span.count(about, rate) or None, **more)

    def frames(self, phase: str) -> Iterator[Frame]:
        """The wanted frames from the start, up to the damage if there is any. UserError when no frame decodes."""
        found = False
        with closing(read_frames(self.source)) as decoded:
            wanted = self.span.of(self._good(decoded))
            for frame in progress(wanted, self._label(phase), self.expected, "frames", self.quiet):
                found = True
                yield frame
        if not found:
            raise UserError(f"{self.source.path}: no frame in it{'' if self.span.is_whole else ' between the times'}")

    def steps(self, phase: str, count: int) -> Iterator[int]:
        """0 to `count` - 1: work that reads no frame, seen as frames are."""
        yield from progress(range(count), self._label(phase), count, "steps", self.quiet)

    def images(self, phase: str) -> Iterator[np.ndarray]:
        """The wanted frames' images, uint8 H,W,3."""
        return (frame.image for frame in self.frames(phase))

    def name(self, index: int) -> str:
        """What names a frame's files, without suffix: of images their own name, else the frame's number.

        A frame that was lost takes no other's number.
        """
        names = self.source.frame_names
        if names is None:
            return f"{index:06d}"
        stems = [Path(name).stem for name in names]
        return stems[index] if len(set(stems)) == len(stems) else names[index]  # a.jpg beside a.png

    def _label(self, phase: str) -> str:
        return f"{self.source.video_id} {phase}"

    def _good(self, decoded: Iterable[Frame]) -> Iterator[Frame]:
        """Frames up to the damage, counted the first time; none at all is the caller's to hear."""
        first, self._begun = not self._begun, True
        try:
            for frame in decoded:
                if first:
                    self.flaws.see(frame)
                yield frame
        except DecodeError as error:
            if error.good_frames == 0:
                raise
            self.damage = error.reason


@dataclass
class Frames(Video):
    """Frames that are in memory, as a Video; they have no clock, so that a frame's time is its number."""

    held: Sequence[np.ndarray] = ()  # uint8 H,W,3 each

    def frames(self, phase: str) -> Iterator[Frame]:
        """The wanted frames. UserError when there is none, or when two differ in size."""
        if not self.held:
            raise UserError("no frame to segment; give at least one")
        for number, image in enumerate(self.held):
            if image.shape != self.held[0].shape:
                raise UserError(f"frame {number} is of shape {image.shape}, the first of {self.held[0].shape}")
        yield from self.span.of(Frame(number, float(number), image, "images") for number, image in enumerate(self.held))


def held_frames(images: Sequence[np.ndarray], span: Span | None = None, one_image: bool = False) -> Frames:
    """Images uint8 H,W,3 as a Video; `one_image` says that it is a photo, not a video of one frame."""
    names = ("image",) if one_image else None
    return Frames(Source("frames", Path("frames"), names), span or Span(), len(images), quiet=True, held=images)
