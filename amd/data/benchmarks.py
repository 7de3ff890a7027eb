"""Benchmarks of video object segmentation: in, a folder as downloaded; out, its sequences and their truth.

A reader opens no image. What a list file says is not trusted: its names must be plain folder names.
"""

import re
from collections.abc import Callable
from pathlib import Path

from amd.data.fbms import fbms59
from amd.data.segtrack import segtrackv2
from amd.data.sequences import (
    IMAGE_SUFFIXES,
    BenchmarkFrame,
    Sequence,
    files_by_stem,
    is_folder,
    is_plain_name,
    require_frames,
    require_layout,
    subfolders,
    visible_names,
)
from amd.data.youtubevos import youtube_vos
from amd.errors import UserError

__all__ = ["BenchmarkFrame", "Sequence", "davis2016", "is_folder", "open_benchmark", "visible_names"]

DAVIS_IMAGES = Path("JPEGImages", "480p")
DAVIS_TRUTH = Path("Annotations", "480p")
DAVIS_LISTS = (Path("ImageSets", "480p", "val.txt"), Path("ImageSets", "sequences.txt"))
DAVIS_ADVICE = "give the folder as downloaded, with frames and annotations at 480p"
DAVIS_LINE = re.compile(r"/?JPEGImages/480p/([^/\s]+)/[^/\s]+\s+/?Annotations/480p/\1/[^/\s]+")


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
    require_layout(root, "DAVIS 2016", (DAVIS_IMAGES, DAVIS_TRUTH), DAVIS_ADVICE)
    return [_davis_sequence(root, name) for name in _davis_names(root)]


READERS: dict[str, Callable[[Path], list[Sequence]]] = {
    "davis2016": davis2016,
    "fbms59": fbms59,
    "segtrackv2": segtrackv2,
    "youtube_vos": youtube_vos,
}

# What each protocol leaves out, in the words that are stored beside its scores.
LEFT_OUT = {"davis2016": "first and last frame of every sequence"}


def _davis_names(root: Path) -> list[str]:
    """Names of the sequences, in the order of the list that says so, each once."""
    for part in DAVIS_LISTS:
        if (root / part).is_file():
            return _read_list(root / part)
    images = root / DAVIS_IMAGES
    names = subfolders(images)
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
    if not is_plain_name(name):
        raise UserError(
            f"{path}: line {number} is {line[:80]!r}; a line is the name of a sequence, or "
            "'/JPEGImages/480p/NAME/FRAME.jpg /Annotations/480p/NAME/FRAME.png'"
        )
    return name


def _davis_sequence(root: Path, name: str) -> Sequence:
    images = files_by_stem(root / DAVIS_IMAGES / name, IMAGE_SUFFIXES)
    truths = files_by_stem(root / DAVIS_TRUTH / name, {".png"})
    if unpaired := sorted(images.keys() - truths.keys()):
        missing = root / DAVIS_TRUTH / name / f"{unpaired[0]}.png"
        raise UserError(f"{images[unpaired[0]]}: a frame without annotation; {missing} is missing")
    require_frames(truths, images, root / DAVIS_IMAGES / name)
    stems = sorted(images)
    ends = {stems[0], stems[-1]}
    frames = tuple(BenchmarkFrame(stem, images[stem], truths[stem], stem in ends) for stem in stems)
    return Sequence(name, frames, "davis2016")
