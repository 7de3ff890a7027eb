"""What exporters share: a frame with its masks, what they know of the source, and what a kind of export is."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amd.data.images import write_mask

OBJECT = 1  # the id of the object where objects are not told apart


@dataclass(frozen=True)
class SourceInfo:
    """What exporters are told of a source before its first frame."""

    name: str
    frame_files: tuple[str, ...] | None = None  # names of a folder's images; None: a video

    @property
    def is_one_image(self) -> bool:
        """Whether pictures stand for videos."""
        return self.frame_files is not None and len(self.frame_files) == 1


@dataclass(frozen=True)
class MaskedFrame:
    """A frame and what was found in it."""

    index: int  # in the source, from 0
    name: str  # of its files, without suffix
    timestamp: float  # seconds from the first frame
    image: np.ndarray  # uint8 RGB H,W,3, upright
    mask: np.ndarray  # bool H,W
    soft: np.ndarray | None = None  # float32 H,W, probability of the object
    ids: np.ndarray | None = None  # uint8 H,W, the object of each pixel, 0 for none (amd.inference.objects)
    confidence: float = 1.0  # 0 to 1: how sure the mask is; 0 where it is refused (amd.inference.confidence)
    reason: str = ""  # why it is refused, one line

    @property
    def area(self) -> float:
        """The object's share of the frame."""
        return float(self.mask.mean())

    def save(self, path: Path | str) -> None:
        """Write the mask as a PNG, 0 or 255, at the frame's own size."""
        write_mask(Path(path), self.mask)

    def check(self, needs: Collection[str] = ()) -> None:
        """ValueError when an array has another type or size than it must, or one of `needs` is missing."""
        for need in needs:
            if getattr(self, need) is None:
                raise ValueError(f"frame {self.name}: an export needs `{need}`, which it does not have")
        wanted = {"image": np.uint8, "mask": np.bool_, "soft": np.float32, "ids": np.uint8}
        size = self.image.shape[:2]
        for field, kind in wanted.items():
            array = getattr(self, field)
            shape = (*size, 3) if field == "image" else size
            if array is not None and (array.dtype != kind or array.shape != shape):
                given = f"{array.dtype} {array.shape}"
                raise ValueError(f"frame {self.name}: {field} is {given}, not {np.dtype(kind)} {shape}")

    def objects(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each object's id and mask bool H,W; without ids one object, where there is any."""
        if self.ids is not None:
            for number in np.flatnonzero(np.bincount(self.ids.ravel(), minlength=2)[1:]) + 1:
                yield int(number), self.ids == number
        elif self.mask.any():
            yield OBJECT, self.mask


Write = Callable[[MaskedFrame], None]


@dataclass(frozen=True)
class Kind:
    """One kind of export."""

    open: Callable[[Path, SourceInfo], AbstractContextManager[Write]]
    place: str  # below a source's folder: a folder with a PNG per frame (ends in /), or one file's name or pattern
    summary: str  # for --help
    needs: tuple[str, ...] = ()  # fields of MaskedFrame beyond image and mask


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, width and height in pixels of the smallest box around a mask bool H,W that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
