"""Whether decord gave the frames that PyAV gives: a sample of them, small, compared in ingest.

Input: thumbnails of decord's frames, by index: of the first group of pictures, the middle and the end. Output: yes or
no. PyAV seeks to the key frame before each part of the sample, so that little is decoded; in containers without
presentation times (AVI), where seeking is guesswork, it decodes from frame 0.
"""

from collections import deque
from contextlib import closing
from itertools import groupby
from pathlib import Path

import numpy as np

from amd.data.video.decode import ROUNDING
from amd.data.video.probe import ProbeError, presentation_ticks
from amd.data.video.pyav_frames import PyavError, pyav_pictures

FIRST, ELSEWHERE = 16, 6  # frames compared at the start; in the middle, and at the end
REORDERED = 16  # frames at most between decoding and showing one: containers are sought by the time of decoding
SLACK = 0.02  # grey levels by which a neighbour may be more like a frame than itself: rounding, in a still video


class Sample:
    """The frames to compare, kept while a video goes by."""

    def __init__(self, expected: int | None) -> None:
        middle = (expected or 0) // 2
        self.planned = {*range(FIRST), *range(middle, middle + ELSEWHERE)}
        self.kept: dict[int, np.ndarray] = {}
        self.end: deque[tuple[int, np.ndarray]] = deque(maxlen=ELSEWHERE)

    def see(self, index: int, image: np.ndarray) -> None:
        """Take a frame uint8 H,W,3, which has come in its order."""
        if index in self.planned:
            self.kept[index] = image
        self.end.append((index, image))

    def frames(self) -> dict[int, np.ndarray]:
        """The images kept, by index, in order."""
        return dict(sorted({**self.kept, **dict(self.end)}.items()))


def agrees(path: Path, sample: Sample) -> bool:
    """Whether PyAV gives as many frames, and the same ones at the places of the sample."""
    ours = sample.frames()
    try:
        ticks = presentation_ticks(path)
        theirs = _from_start(path, ours) if ticks is None else _sought(path, ours, ticks)
    except (PyavError, ProbeError):
        return False
    return theirs is not None and all(_alike(run, ours, theirs) for run in _runs(ours))


def _sought(path: Path, ours: dict[int, np.ndarray], ticks: list[int]) -> dict[int, np.ndarray] | None:
    """PyAV's frames at the places of `ours`; None when there are not as many, or one is not found."""
    if max(ours) != len(ticks) - 1:
        return None
    theirs = {}
    for run in _runs(ours):
        wanted = {ticks[index]: index for index in run}
        start = None if run[0] < REORDERED else ticks[run[0] - REORDERED]
        with closing(pyav_pictures(path, *_size(ours), start)) as pictures:
            for picture in pictures:
                if picture.pts in wanted:
                    theirs[wanted[picture.pts]] = picture.image
                if picture.pts is None or picture.pts >= ticks[run[-1]]:
                    break
    return theirs if theirs.keys() == ours.keys() else None


def _from_start(path: Path, ours: dict[int, np.ndarray]) -> dict[int, np.ndarray] | None:
    theirs, count = {}, 0
    with closing(pyav_pictures(path, *_size(ours))) as pictures:
        for picture in pictures:
            place = count + picture.lost
            count = place + 1
            if place in ours:
                theirs[place] = picture.image
    return theirs if count == max(ours) + 1 and theirs.keys() == ours.keys() else None


def _alike(run: list[int], ours: dict[int, np.ndarray], theirs: dict[int, np.ndarray]) -> bool:
    """Whether consecutive frames are the same, and more so than if PyAV's were one place on or back."""
    first, second = (np.stack([images[index] for index in run]).astype(np.int16) for images in (ours, theirs))
    if np.abs(first - second).mean(axis=(1, 2, 3)).max() > ROUNDING:
        return False
    if len(run) == 1:
        return True
    same = np.abs(first - second).mean()
    return same <= min(np.abs(first[1:] - second[:-1]).mean(), np.abs(first[:-1] - second[1:]).mean()) + SLACK


def _runs(images: dict[int, np.ndarray]) -> list[list[int]]:
    """The indices in runs of consecutive ones."""
    places = groupby(enumerate(images), key=lambda pair: pair[1] - pair[0])
    return [[index for _, index in run] for _, run in places]


def _size(images: dict[int, np.ndarray]) -> tuple[int, int]:
    """Width and height of the images."""
    return next(iter(images.values())).shape[1::-1]
