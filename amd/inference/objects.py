"""Several objects: the parts of a mask that stay apart over time get ids of their own.

Input: masks of a video, one at a time, with optical flow where there is some. Output: ids uint8 H,W per frame, 0 for
no object. One pass; what is kept does not grow with the length.

An object is followed by the shape that it had when it last was a part by itself, moved along: by the flow under it,
without flow by its own velocity. Shapes are matched to the parts (connected components) that they overlap most.
- A new part gets a new id, unless it is an object that comes back: one of similar area that vanished near there (or
  would be there by now), at most `memory` frames ago.
- Parts that touch are one part in the mask. Each object keeps the pixels that its moved shape covers, the others go
  to the nearest; so two that cross come out with the ids that they had. A merge that lasts keeps both ids.
- Of a part that splits, the piece that the shape overlaps best keeps the id. Another piece bears that id too, until
  it has been apart for `patience` frames: then it is an object of its own. A piece that comes back before is none.
- Ids go from 1 up and are not used twice. Parts for which none is left (uint8) have 0, counted in `left_out`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

MOST_OBJECTS = 255
SMALLEST_SHARE = 0.0005  # of the frame; a smaller part is none
CLAIM = 0.1  # of the smaller of a shape and a part: with less overlap they have nothing to do with each other
MERGED = 0.5  # of a shape: with less of it in another's part it has vanished rather than merged
REACH = 1.5  # diameters: how far from its place an object may come back
ALIKE = 3.0  # times: how much its area may have changed when it comes back
INERTIA = 0.5  # of the velocity before, in the next


@dataclass(eq=False)
class _Track:
    """An object, or a piece that may become one."""

    number: int  # 0 of a piece
    shape: np.ndarray  # bool h,w: cropped
    place: np.ndarray  # y, x of the shape's corner in the frame, float
    centroid: np.ndarray  # y, x where it was last seen
    parent: "_Track | None" = None  # of a piece: what it split from
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # y, x in pixels a frame
    measured: bool = False  # whether the velocity was ever seen
    alone: bool = False  # whether it was a part by itself in the frame before
    age: int = 0  # frames
    missing: int = 0  # frames since it was last seen

    @property
    def shown(self) -> int:
        """The id that its pixels bear."""
        return self.number if self.parent is None else self.parent.shown

    @property
    def area(self) -> int:
        return int(self.shape.sum())

    def drawn(self, size: tuple[int, int]) -> np.ndarray:
        """The shape at its place, bool `size`; cut off at the frame's edges."""
        canvas = np.zeros(size, bool)
        corner = np.rint(self.place).astype(int)
        first = np.clip(corner, 0, size)
        last = np.clip(corner + self.shape.shape, first, size)
        (top, left), (bottom, right), (y, x) = first, last, first - corner
        canvas[top:bottom, left:right] = self.shape[y : y + bottom - top, x : x + right - left]
        return canvas

    def learn(self, part: np.ndarray) -> None:
        """Take the shape, place and centroid of the part bool H,W that it is, and the velocity if it was one before."""
        centroid = _centroid(part)
        if self.alone:
            step = centroid - self.centroid
            self.velocity = INERTIA * self.velocity + (1 - INERTIA) * step if self.measured else step
            self.measured = True
        (self.shape, self.place), self.centroid = _cropped(part), centroid


class ObjectTracker:
    """Gives the parts of a video's masks their ids, frame after frame."""

    def __init__(self, min_area: int | None = None, patience: int = 5, memory: int = 25) -> None:
        """`min_area` in pixels (default: SMALLEST_SHARE of the frame); `patience` and `memory` in frames."""
        self.min_area = min_area
        self.patience = patience
        self.memory = memory
        self.left_out = 0  # parts without an id, since there are no more; over all frames
        self._numbers = 0  # given so far
        self._tracks: list[_Track] = []
        self._size: tuple[int, int] | None = None

    def track(self, mask: np.ndarray, flow: np.ndarray | None = None) -> np.ndarray:
        """Ids uint8 H,W of the next frame's mask bool H,W.

        `flow` float32 H,W,2 says where each pixel of the frame before went (x, y in pixels, amd.motion.flow); None
        where it is not known. ValueError when the size changes.
        """
        if mask.dtype != bool or self._size not in (None, mask.shape):
            raise ValueError(f"a mask {mask.dtype} {mask.shape} where one bool {self._size or 'H,W'} is expected")
        self._size = mask.shape
        self._move(mask.shape, flow)
        parts = self._parts(mask)
        shapes = {track: track.drawn(mask.shape) for track in self._tracks}
        seen = [track for track in self._tracks if not track.missing]
        overlaps = np.array([[np.count_nonzero(shapes[track] & part) for part in parts] for track in seen], int)
        members = _match(seen, parts, overlaps)
        for index, part in enumerate(parts):
            if not members[index]:
                members[index] = self._newcomer(part, seen, [row[index] for row in overlaps])
        self._settle(members)
        ids = np.zeros(mask.shape, np.uint8)
        for part, tracks in zip(parts, members, strict=True):
            _paint(ids, part, tracks, shapes)
        self._remember(parts, members)
        return ids

    def _parts(self, mask: np.ndarray) -> list[np.ndarray]:
        """The connected components that are large enough, largest first, as bool H,W."""
        least = max(1, SMALLEST_SHARE * mask.size if self.min_area is None else self.min_area)
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        areas = statistics[:, cv2.CC_STAT_AREA]
        return [labels == n for n in sorted(range(1, count), key=lambda n: -areas[n]) if areas[n] >= least]

    def _move(self, size: tuple[int, int], flow: np.ndarray | None) -> None:
        """Move every shape to where it is expected in the next frame."""
        flows = {}
        if flow is not None:
            shapes = {track: track.drawn(size) for track in self._tracks if not track.missing}
            lone = np.sum(list(shapes.values()), axis=0) == 1  # pixels under one shape: their flow is surely its own
            flows = {track: flow[shape & lone] for track, shape in shapes.items()}
        for track in self._tracks:
            vectors = flows.get(track, ())
            track.place = track.place + (np.median(vectors, axis=0)[::-1] if len(vectors) else track.velocity)

    def _newcomer(self, part: np.ndarray, seen: Sequence[_Track], overlaps: Sequence[int]) -> list[_Track]:
        """Whose a part is that was matched to no object: a piece of one, one that comes back, or a new one."""
        best = max(range(len(seen)), key=lambda index: overlaps[index], default=None)
        if best is not None and _claims(seen[best], part, overlaps[best]):
            return [self._add(part, parent=seen[best])]
        returned = self._returned(part)
        if returned is None and not self._exhausted():
            return [self._add(part)]
        return [] if returned is None else [returned]

    def _returned(self, part: np.ndarray) -> _Track | None:
        """The nearest of the missing objects that a part may be."""
        found, nearest, area, centroid = None, np.inf, int(part.sum()), _centroid(part)
        for track in self._tracks:
            if not track.missing or not 1 / ALIKE <= area / track.area <= ALIKE:
                continue
            expected = track.place + np.array(track.shape.shape) / 2
            distance = min(np.hypot(*(place - centroid)) for place in (expected, track.centroid))
            if distance < nearest and distance <= REACH * np.sqrt(4 * track.area / np.pi):
                found, nearest = track, distance
        return found

    def _exhausted(self) -> bool:
        """Whether there is no id left for a part, which then is left out."""
        self.left_out += self._numbers == MOST_OBJECTS
        return self._numbers == MOST_OBJECTS

    def _add(self, part: np.ndarray, parent: _Track | None = None) -> _Track:
        """A new track: a piece of `parent`, or an object with the next id."""
        self._numbers += parent is None
        track = _Track(0 if parent else self._numbers, *_cropped(part), _centroid(part), parent)
        self._tracks.append(track)
        return track

    def _settle(self, members: list[list[_Track]]) -> None:
        """Pieces that are back in what they split from are no objects; those long enough apart become objects."""
        for tracks in members:
            for piece in [track for track in tracks if track.parent in tracks]:
                tracks.remove(piece)
                self._replace(piece, piece.parent)
        for track in self._tracks:
            track.age += 1
            if track.parent is not None and track.age > self.patience and not self._exhausted():
                self._numbers += 1
                track.number, track.parent = self._numbers, None

    def _remember(self, parts: list[np.ndarray], members: list[list[_Track]]) -> None:
        """Take over what was seen of each track; forget what has long been missing."""
        for track in self._tracks:
            track.missing += 1
        for part, tracks in zip(parts, members, strict=True):
            for track in tracks:
                if len(tracks) == 1:
                    track.learn(part)
                track.alone, track.missing = len(tracks) == 1, 0
        for piece in list(self._tracks):
            parent = piece.parent
            if parent is not None and parent.missing and not piece.missing:  # the piece is all that is left of it
                piece.number, piece.parent = parent.number, parent.parent
                self._replace(parent, piece)
        for track in list(self._tracks):
            track.alone = track.alone and not track.missing
            if track.missing > (self.memory if track.parent is None else 0):
                self._replace(track, track.parent)

    def _replace(self, gone: _Track, heir: _Track | None) -> None:
        """Take a track away; its pieces are then those of `heir`."""
        self._tracks.remove(gone)
        for track in self._tracks:
            if track.parent is gone:
                track.parent = heir


def _match(seen: Sequence[_Track], parts: Sequence[np.ndarray], overlaps: np.ndarray) -> list[list[_Track]]:
    """The tracks of each part: best pairs first, one to one; then those that lie in a part with another."""
    members: list[list[_Track]] = [[] for _ in parts]
    pairs = [
        (overlaps[row, column] / (track.area + part.sum() - overlaps[row, column]), row, column)
        for row, track in enumerate(seen)
        for column, part in enumerate(parts)
        if _claims(track, part, overlaps[row, column])
    ]
    free = set(range(len(seen)))
    for _, row, column in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if row in free and not members[column]:
            members[column].append(seen[row])
            free.remove(row)
    for row in sorted(free):
        column = int(np.argmax(overlaps[row])) if len(parts) else 0
        if len(parts) and overlaps[row, column] >= MERGED * seen[row].area:
            members[column].append(seen[row])
    return members


def _claims(track: _Track, part: np.ndarray, overlap: int) -> bool:
    return overlap > 0 and overlap >= CLAIM * min(track.area, part.sum())


def _paint(ids: np.ndarray, part: np.ndarray, tracks: Sequence[_Track], shapes: dict[_Track, np.ndarray]) -> None:
    """Write the ids of a part's pixels; where shapes cover each other, the smaller one is on top."""
    if len(tracks) == 1:
        ids[part] = tracks[0].shown
    elif tracks:
        owned = np.zeros(part.shape, np.uint8)
        for track in sorted(tracks, key=lambda track: -track.area):
            owned[shapes[track] & part] = track.shown
        nearest = distance_transform_edt(owned == 0, return_distances=False, return_indices=True)
        ids[part] = owned[tuple(nearest)][part]


def _cropped(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A part bool H,W as its shape bool h,w and the y, x of its corner."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    shape = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return shape, np.array([rows[0], columns[0]], float)


def _centroid(part: np.ndarray) -> np.ndarray:
    return np.array([axis.mean() for axis in np.nonzero(part)])
