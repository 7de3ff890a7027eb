"""Which objects are kept: chosen by a point and a time, as in `--keep x,y@seconds` and `--drop x,y@seconds`.

Input: the ids of a video's frames (amd.inference.objects) and points. Output: a function from ids to the mask of what
is kept. Objects have the same ids in every pass over a video, so that one pass finds what the points mean and the
next applies it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from amd.inference.export.kinds import bounding_box
from amd.runtime.errors import UserError

POINT = re.compile(r"(\d+),(\d+)@(\d+(?:\.\d+)?|\.\d+)", re.ASCII)


@dataclass(frozen=True)
class Point:
    """A pixel of the frame that is shown at a time."""

    x: int  # pixels from the left
    y: int  # pixels from the top
    seconds: float  # from the first frame
    option: str = "--keep"  # what the user gave it with, for errors

    def __str__(self) -> str:
        return f"{self.option} {self.x},{self.y}@{self.seconds:g}"


@dataclass(frozen=True)
class Selection:
    """The objects that stay."""

    kept: frozenset[int] | None  # None: all that are not dropped
    dropped: frozenset[int]

    def ids(self, ids: np.ndarray) -> np.ndarray:
        """Ids uint8 H,W with 0 for every object that does not stay."""
        stays = [
            number != 0 and number not in self.dropped and (self.kept is None or number in self.kept)
            for number in range(256)
        ]
        return np.where(stays, np.arange(256), 0).astype(np.uint8)[ids]


def parse_point(text: str, option: str) -> Point:
    """The point that `option` gives as x,y@seconds; UserError when it is none."""
    found = POINT.fullmatch(text.strip())
    if not found:
        raise UserError(f"{option} {text}: not a point; give x,y@seconds, in pixels and seconds, such as 120,80@1.5")
    return Point(int(found[1]), int(found[2]), float(found[3]), option)


def choose(frames: Iterable[tuple[float, np.ndarray]], keep: Sequence[Point], drop: Sequence[Point]) -> Selection:
    """What the points mean in a video, given as each frame's timestamp (seconds) and ids uint8 H,W, in order.

    A point means the object at it in the frame shown at its time. UserError when there is none, or when the point
    lies outside the frame or after the end.
    """
    waiting = sorted([*keep, *drop], key=lambda point: point.seconds)
    found: dict[Point, int] = {}
    before, timestamp = None, 0.0
    for timestamp, ids in frames:
        while waiting and before is not None and timestamp > waiting[0].seconds:
            found[waiting[0]] = _object_at(before, waiting[0])
            waiting.pop(0)
        before = ids
    # The last frame is shown for a moment too; how long, nobody says.
    while waiting and before is not None and waiting[0].seconds <= timestamp + 1:
        found[waiting[0]] = _object_at(before, waiting[0])
        waiting.pop(0)
    if waiting:
        raise UserError(f"{waiting[0]}: the video ends at {timestamp:.2f} seconds; give a time before")
    kept = frozenset(found[point] for point in keep) if keep else None
    return Selection(kept, frozenset(found[point] for point in drop))


def _object_at(ids: np.ndarray, point: Point) -> int:
    height, width = ids.shape
    if point.x >= width or point.y >= height:
        raise UserError(f"{point}: outside the frame of {width}x{height} pixels; give a point inside")
    number = int(ids[point.y, point.x])
    if number:
        return number
    boxes = [_described(ids == other) for other in np.unique(ids) if other]
    there = f"objects there: {'; '.join(boxes)}" if boxes else "there is none in that frame"
    raise UserError(f"{point}: no object at that point; {there}")


def _described(mask: np.ndarray) -> str:
    x, y, width, height = bounding_box(mask)
    return f"x {x} to {x + width - 1}, y {y} to {y + height - 1}"
