"""Exports of one PNG per frame: masks, probabilities, objects' ids, cut-outs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from amd.data.images import write_deep, write_image, write_labels, write_mask
from amd.draw.colours import object_colour
from amd.inference.export.kinds import MaskedFrame, SourceInfo, Write

PALETTE = bytes([0, 0, 0]) + b"".join(bytes(object_colour(number)) for number in range(1, 256))


def cut_out(frame: MaskedFrame) -> np.ndarray:
    """The object as RGBA uint8 H,W,4; all else is transparent and black, so that nothing of it travels along."""
    return np.dstack((frame.image * frame.mask[..., None], frame.mask * np.uint8(255)))


def _pictures(folder: str, write: Callable[[Path, MaskedFrame], None]) -> Callable:
    """The export that calls `write` with the path of each frame's picture in `folder`.

    A picture that an interrupted run wrote stays: it is whole, and would come out the same.
    """

    @contextmanager
    def opened(root: Path, source: SourceInfo) -> Iterator[Write]:
        def write_missing(frame: MaskedFrame) -> None:
            path = root / folder / f"{frame.name}.png"
            if not path.exists():
                write(path, frame)

        yield write_missing

    return opened


def _scaled(frame: MaskedFrame, kind: type[np.unsignedinteger]) -> np.ndarray:
    return np.rint(np.clip(np.asarray(frame.soft), 0, 1) * np.float64(np.iinfo(kind).max)).astype(kind)


masks = _pictures("masks", lambda path, frame: write_mask(path, frame.mask))
soft = _pictures("soft", lambda path, frame: write_labels(path, _scaled(frame, np.uint8)))
soft16 = _pictures("soft16", lambda path, frame: write_deep(path, _scaled(frame, np.uint16)))
objects = _pictures("objects", lambda path, frame: write_labels(path, np.asarray(frame.ids), PALETTE))
rgba = _pictures("rgba", lambda path, frame: write_image(path, cut_out(frame)))
