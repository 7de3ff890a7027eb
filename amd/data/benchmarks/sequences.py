"""What every benchmark is made of: sequences of frames with their truth, and the checks of folder layouts.

Input: paths that a reader found (amd.data.benchmarks.davis and the modules beside it). Output: truth as bool masks.
Nothing that a list file, a JSON or a folder says is trusted: names must be plain names, and files are opened with
suspicion. What is wrong with a copy goes to a reader's `report`: `refuse` ends at the first problem, `amd doctor`
collects them all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

import numpy as np

from amd.data.images import read_labels, read_mask, read_pixels
from amd.runtime.errors import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}

Report: TypeAlias = Callable[[str], None]  # takes a problem of one line; what is in question is then left out


@dataclass(frozen=True)
class BenchmarkFrame:
    """One frame. `truth` is None where nobody annotated it; read it with `read_truth` alone.

    `left_out` marks an annotated frame that the benchmark's protocol does not count.
    """

    name: str  # without suffix
    image: Path
    truth: Path | None
    left_out: bool = False
    more_truth: tuple[Path, ...] = ()  # further objects, a file each, merged with `truth`
    background: tuple[int, int, int] | None = None  # the truth's colour of no object; None: zero in every channel
    above: int = 0  # with more than zero, grey values of the truth above this are the object


@dataclass(frozen=True)
class Sequence:
    """One video of a benchmark, frames in order."""

    name: str
    frames: tuple[BenchmarkFrame, ...]
    dataset: str = ""  # key of amd.data.benchmarks.davis.READERS

    @property
    def scored_frames(self) -> tuple[BenchmarkFrame, ...]:
        """The frames that count: annotated and not left out."""
        return tuple(frame for frame in self.frames if frame.truth is not None and not frame.left_out)


def refuse(problem: str) -> NoReturn:
    """The report of whoever needs a whole copy: the first problem is a UserError."""
    raise UserError(problem)


def read_each(
    names: Iterable[str], read: Callable[[str], Sequence], report: Report, only: str | None = None
) -> list[Sequence]:
    """`read(name)` of every name, or of `only`; a sequence that cannot be read is reported and left out."""
    sequences = []
    for name in names if only is None else {only} & set(names):
        try:
            sequences.append(read(name))
        except UserError as error:
            report(str(error))
    return sequences


def read_truth(frame: BenchmarkFrame) -> np.ndarray:
    """The annotated foreground of a frame, bool H,W: all its objects together.

    Raises UserError when a file is missing or damaged, or when the objects' files differ in size. ValueError for a
    frame that nobody annotated.
    """
    if frame.truth is None:
        raise ValueError(f"frame {frame.name} has no truth")
    merged = _foreground(frame.truth, frame)
    for path in frame.more_truth:
        mask = _foreground(path, frame)
        if mask.shape != merged.shape:
            sizes = f"{mask.shape[1]}x{mask.shape[0]} pixels, but {frame.truth} has {merged.shape[1]}x{merged.shape[0]}"
            raise UserError(f"{path}: {sizes}; the objects of a frame are annotated at one size")
        merged |= mask
    return merged


def _foreground(path: Path, frame: BenchmarkFrame) -> np.ndarray:
    if frame.background is not None:
        return (read_pixels(path) != np.array(frame.background, np.uint8)).any(axis=2)
    return read_labels(path) > frame.above if frame.above else read_mask(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`; UserError when the disk will not tell."""
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); check its name and permissions") from None


def visible_names(folder: Path) -> list[str]:
    """Sorted names in a folder, without hidden ones (of file managers, or half-written files).

    Raises UserError when the folder cannot be listed.
    """
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None


def subfolders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder."""
    return [name for name in visible_names(folder) if is_folder(folder / name)]


def is_plain_name(name: str) -> bool:
    """Whether a name from a list can only be a visible entry of the folder that it is looked up in."""
    return bool(name) and not name.startswith(".") and all(sign not in "/\\" and sign.isprintable() for sign in name)


def require_layout(root: Path, title: str, parts: tuple[Path, ...], advice: str) -> None:
    """UserError unless the folder `root` has all `parts`; names the right folder when it is near."""
    if not is_folder(root):
        tops = dict.fromkeys(part.parts[0] for part in parts)
        raise UserError(f"{root}: no such folder; give the one that holds {' and '.join(tops)}")
    for part in parts:
        if not _exists(root / part):
            raise UserError(f"{root}: not {title}, {part} is missing; {_hint(root, parts) or advice}")


def nearby(root: Path) -> list[Path]:
    """Folders that may be meant instead of `root`: one lower, and up to three higher (JPEGImages/480p/NAME)."""
    return [root / name for name in subfolders(root)] + list(root.absolute().parents[:3])


def _hint(root: Path, parts: tuple[Path, ...]) -> str | None:
    """Where the layout is instead."""
    for folder in nearby(root):
        if all(_exists(folder / part) for part in parts):
            return f"did you mean {folder}?"
    return None


def _exists(path: Path) -> bool:
    return is_folder(path) or path.is_file()


def files_by_stem(folder: Path, suffixes: set[str], report: Report = refuse) -> dict[str, Path]:
    """The files of `folder` with one of `suffixes`, by name without suffix; of two with one name the first.

    UserError when the folder is missing or has none.
    """
    if not is_folder(folder):
        raise UserError(f"{folder}: the sequence's folder is missing; complete the copy of the benchmark")
    files: dict[str, Path] = {}
    for path in (folder / name for name in visible_names(folder)):
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in files:
            report(f"{path}: the same frame as {files[path.stem].name}; keep one of them")
            continue
        files[path.stem] = path
    if not files:
        raise UserError(f"{folder}: no {' or '.join(sorted(suffixes))} file in it; complete the copy")
    return files


def require_frames(truths: dict[str, Path], images: dict[str, Path], folder: Path, report: Report = refuse) -> None:
    """Report every annotation without frame in `folder`."""
    for stem in sorted(truths.keys() - images.keys()):
        report(f"{truths[stem]}: an annotation without frame in {folder}; remove it or complete the copy")
