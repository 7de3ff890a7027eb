"""Which objects are kept: chosen by a point and a time, as in `--keep x,y@seconds` and `--drop x,y@seconds`.

Input: the ids of a video's frames (amd.inference.objects) and points. Output: a function from ids to the mask of what
is kept. Objects have the same ids in every pass over a video, so that one pass finds what the points mean and the
next applies it.
"""

import io
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np

from amd.data.video.decode import Frame
from amd.inference.export.kinds import MaskedFrame, bounding_box
from amd.inference.objects import ObjectTracker
from amd.inference.video import Video
from amd.runtime.errors import UserError

NEAR = 0.02  # of the frame's short edge: how far beside an object a point may lie, as thin ones are hard to hit
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

    A point means the object at it, or just beside it, in the frame shown at its time. UserError when there is none, or
    when the point lies outside the frame or after the end.
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


def chosen_objects(
    masks: Callable[[Video], Iterator[MaskedFrame]],
    video: Video,
    objects: bool,
    keep: Sequence[Point],
    drop: Sequence[Point],
) -> Iterator[MaskedFrame]:
    """The frames of `masks` with ids where `objects` are wanted, and with the objects alone that the points choose.

    Points need the whole video before its first frame: masks are then kept on disk for a second pass.
    """
    if not (objects or keep or drop):
        yield from masks(video)
        return
    tracked = _tracked(masks(video))
    if not (keep or drop):
        yield from tracked
        return
    with tempfile.TemporaryFile() as file:
        places: list[tuple[int, int]] = []

        def noted() -> Iterator[tuple[float, np.ndarray]]:
            for frame in tracked:
                places.append(_keep(file, frame))
                yield frame.timestamp, np.asarray(frame.ids)

        selection = choose(noted(), keep, drop)
        for place, frame in zip(places, video.frames("objects"), strict=True):
            kept = _kept(file, place, frame, video.name(frame.index))
            ids = selection.ids(np.asarray(kept.ids))
            yield replace(kept, ids=ids, mask=ids > 0)


def _tracked(frames: Iterable[MaskedFrame]) -> Iterator[MaskedFrame]:
    """Frames with the ids of their objects."""
    tracker = ObjectTracker()
    for frame in frames:
        yield replace(frame, ids=tracker.track(frame.mask))


def _keep(file: IO[bytes], frame: MaskedFrame) -> tuple[int, int]:
    """Append what was made of a frame to a file; where it lies there."""
    buffer = io.BytesIO()
    soft = np.zeros(0, np.float32) if frame.soft is None else frame.soft
    np.savez_compressed(
        buffer, ids=np.asarray(frame.ids), soft=soft.astype(np.float16), sure=frame.confidence, reason=frame.reason
    )
    file.seek(0, 2)
    return file.tell(), file.write(buffer.getvalue())


def _kept(file: IO[bytes], place: tuple[int, int], frame: Frame, name: str) -> MaskedFrame:
    """What `_keep` wrote of a frame."""
    file.seek(place[0])
    with np.load(io.BytesIO(file.read(place[1])), allow_pickle=False) as held:
        soft = held["soft"].astype(np.float32) if held["soft"].size else None
        ids = held["ids"]
        sure, reason = float(held["sure"]), str(held["reason"])
    return MaskedFrame(frame.index, name, frame.timestamp, frame.image, ids > 0, soft, ids, sure, reason)


def _object_at(ids: np.ndarray, point: Point) -> int:
    height, width = ids.shape
    if point.x >= width or point.y >= height:
        raise UserError(f"{point}: outside the frame of {width}x{height} pixels; give a point inside")
    reach = round(NEAR * min(height, width))
    top, left = max(0, point.y - reach), max(0, point.x - reach)
    around = ids[top : point.y + reach + 1, left : point.x + reach + 1]
    rows, columns = np.nonzero(around)
    if len(rows):
        nearest = np.argmin((rows + top - point.y) ** 2 + (columns + left - point.x) ** 2)
        return int(around[rows[nearest], columns[nearest]])
    boxes = [_described(ids == other) for other in np.unique(ids) if other]
    there = f"objects there: {'; '.join(boxes)}" if boxes else "there is none in that frame"
    raise UserError(f"{point}: no object at that point; {there}")


def _described(mask: np.ndarray) -> str:
    x, y, width, height = bounding_box(mask)
    return f"x {x} to {x + width - 1}, y {y} to {y + height - 1}"
