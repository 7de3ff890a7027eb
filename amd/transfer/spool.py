"""Frames kept on disk while the whole video is looked at, so that memory does not grow with its length."""

from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

from amd.transfer.frame import FrameFeatures


def keep(frames: Iterable[FrameFeatures], file: IO[bytes]) -> Iterator[FrameFeatures]:
    """Pass frames on, writing each to `file` (a temporary one, open for reading too)."""
    for frame in frames:
        for values in (frame.image, frame.embedding, frame.objectness, frame.flow):
            np.save(file, values, allow_pickle=False)
        yield frame


def kept(file: IO[bytes], count: int) -> Iterator[FrameFeatures]:
    """The first `count` frames of `file`, in order; several may read from one file in turn."""
    place = 0
    for _ in range(count):
        file.seek(place)
        frame = FrameFeatures(*(np.load(file, allow_pickle=False) for _ in range(4)))
        place = file.tell()
        yield frame
