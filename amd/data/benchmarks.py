"""Benchmarks of video object segmentation: in, a folder as downloaded; out, its sequences and their truth.

A reader opens no image. What a list file says is not trusted: its names must be plain folder names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amd.errors import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
DAVIS_IMAGES = Path("JPEGImages", "480p")
DAVIS_TRUTH = Path("Annotations", "480p")
DAVIS_LISTS = (Path("ImageSets", "480p", "val.txt"), Path("ImageSets", "sequences.txt"))
DAVIS_LINE = re.compile(r"/?JPEGImages/480p/([^/\s]+)/[^/\s]+\s+/?Annotations/480p/\1/[^/\s]+")


@dataclass(frozen=True)
class BenchmarkFrame:
    """One frame. `truth` is None where nobody annotated it.

    `left_out` marks an annotated frame that the benchmark's protocol does not count.
    """

    name: str  # without suffix
    image: Path
    truth: Path | None
    left_out: bool = False


@dataclass(frozen=True)
class Sequence:
    """One video of a benchmark, frames in order."""

    name: str
    frames: tuple[BenchmarkFrame, ...]
    dataset: str = ""  # key of READERS

    @property
    def scored_frames(self) -> tuple[BenchmarkFrame, ...]:
        """The frames that count: annotated and not left out."""
        return tuple(frame for frame in self.frames if frame.truth is not None and not frame.left_out)


def open_benchmark(name: str, root: Path | str) -> list[Sequence]:
    """The sequences of benchmark `name` (a key of READERS) under `root`.

    Raises UserError for an unknown name or a folder that is not laid out as the benchmark's download.
    """
    if name not in READERS:
        raise UserError(f"{name}: no such benchmark; there are {', '.join(sorted(READERS))}")
    return READERS[name](Path(root))


def davis2016(root: Path | str) -> list[Sequence]:
    """DAVIS 2016 at 480p in its original layout: JPEGImages/480p and Annotations/480p.

    The sequences are those of ImageSets/480p/val.txt (the download's), else of ImageSets/sequences.txt
    (a name a line), else every folder of JPEGImages/480p. The protocol leaves out each sequence's first
    and last frame. Raises UserError, naming the path, where folders, frames or annotations are missing.
    """
    root = Path(root)
    _require_davis_layout(root)
    return [_davis_sequence(root, name) for name in _davis_names(root)]


READERS: dict[str, Callable[[Path], list[Sequence]]] = {"davis2016": davis2016}

# What each protocol leaves out, in the words that are stored beside its scores.
LEFT_OUT = {"davis2016": "first and last frame of every sequence"}


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


def _require_davis_layout(root: Path) -> None:
    if not is_folder(root):
        raise UserError(f"{root}: no such folder; give the one that holds JPEGImages and Annotations")
    for part in (DAVIS_IMAGES, DAVIS_TRUTH):
        if not is_folder(root / part):
            raise UserError(f"{root}: not DAVIS 2016, {part} is missing{_davis_hint(root)}")


def _davis_hint(root: Path) -> str:
    """Where the layout is instead: one folder lower, or up to three higher (JPEGImages/480p/NAME)."""
    below = [root / name for name in visible_names(root) if is_folder(root / name)]
    for folder in below + list(root.absolute().parents[:3]):
        if is_folder(folder / DAVIS_IMAGES) and is_folder(folder / DAVIS_TRUTH):
            return f"; did you mean {folder}?"
    return "; give the folder as downloaded, with frames and annotations at 480p"


def _davis_names(root: Path) -> list[str]:
    """Names of the sequences, in the order of the list that says so, each once."""
    for part in DAVIS_LISTS:
        if (root / part).is_file():
            return _read_list(root / part)
    images = root / DAVIS_IMAGES
    names = [name for name in visible_names(images) if is_folder(images / name)]
    if not names:
        raise UserError(f"{images}: no sequence in it; every sequence is a folder of frames")
    return names


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable list of sequences ({error})") from None
    names = {_listed_name(path, number, line.strip()): None for number, line in enumerate(lines, 1) if line.strip()}
    if not names:
        raise UserError(f"{path}: lists no sequence; remove it to use every folder of {DAVIS_IMAGES}")
    return list(names)


def _listed_name(path: Path, number: int, line: str) -> str:
    """The sequence of a line: a bare name, or the download's pair of frame and annotation."""
    match = DAVIS_LINE.fullmatch(line)
    name = match[1] if match else line
    if name.startswith(".") or any(sign in "/\\" or not sign.isprintable() for sign in name):
        raise UserError(
            f"{path}: line {number} is {line[:80]!r}; a line is the name of a sequence, or "
            "'/JPEGImages/480p/NAME/FRAME.jpg /Annotations/480p/NAME/FRAME.png'"
        )
    return name


def _davis_sequence(root: Path, name: str) -> Sequence:
    images = _files_by_stem(root / DAVIS_IMAGES / name, IMAGE_SUFFIXES)
    truths = _files_by_stem(root / DAVIS_TRUTH / name, {".png"})
    if unpaired := sorted(images.keys() - truths.keys()):
        missing = root / DAVIS_TRUTH / name / f"{unpaired[0]}.png"
        raise UserError(f"{images[unpaired[0]]}: a frame without annotation; {missing} is missing")
    if unpaired := sorted(truths.keys() - images.keys()):
        raise UserError(f"{truths[unpaired[0]]}: an annotation without frame in {root / DAVIS_IMAGES / name}")
    stems = sorted(images)
    ends = {stems[0], stems[-1]}
    frames = tuple(BenchmarkFrame(stem, images[stem], truths[stem], stem in ends) for stem in stems)
    return Sequence(name, frames, "davis2016")


def _files_by_stem(folder: Path, suffixes: set[str]) -> dict[str, Path]:
    """The files of `folder` with one of `suffixes`, by name without suffix; never empty."""
    if not is_folder(folder):
        raise UserError(f"{folder}: the sequence's folder is missing; complete the copy of the benchmark")
    files: dict[str, Path] = {}
    for path in (folder / name for name in visible_names(folder)):
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in files:
            raise UserError(f"{path}: the same frame as {files[path.stem].name}; keep one of them")
        files[path.stem] = path
    if not files:
        raise UserError(f"{folder}: no {' or '.join(sorted(suffixes))} file in it; complete the copy")
    return files
