"""Benchmarks of video object segmentation.

Input: a folder as downloaded. Output: its sequences and their truth.

A reader opens no image. What a list file says is not trusted: its names must be plain folder names.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from amd.data.benchmarks.fbms import fbms59
from amd.data.benchmarks.segtrack import segtrackv2
from amd.data.benchmarks.sequences import (
    IMAGE_SUFFIXES,
    BenchmarkFrame,
    Report,
    Sequence,
    files_by_stem,
    is_folder,
    is_plain_name,
    read_each,
    refuse,
    require_frames,
    require_layout,
    subfolders,
    visible_names,
)
from amd.data.benchmarks.youtubevos import youtubevos
from amd.runtime.errors import UserError

__all__ = ["BenchmarkFrame", "Sequence", "davis2016", "is_folder", "open_benchmark", "visible_names"]

DAVIS_IMAGES = Path("JPEGImages", "480p")
DAVIS_TRUTH = Path("Annotations", "480p")
DAVIS_LISTS = (Path("ImageSets", "480p", "val.txt"), Path("ImageSets", "sequences.txt"))
DAVIS_ADVICE = "give the folder as downloaded, with frames and annotations at 480p"
DAVIS_LINE = re.compile(r"/?JPEGImages/480p/([^/\s]+)/[^/\s]+\s+/?Annotations/480p/\1/[^/\s]+")


def open_benchmark(name: str, root: Path | str, report: Report = refuse, only: str | None = None) -> list[Sequence]:
    """The sequences of benchmark `name` (a key of READERS) under `root`, or the one named `only` without the others.

    Raises UserError for an unknown name or a folder that is not laid out as the benchmark's download. What is missing
    within the layout goes to `report`.
    """
    if name not in READERS:
        raise UserError(f"{name}: no such benchmark; there are {', '.join(sorted(READERS))}")
    return READERS[name](Path(root), report, only)


def davis2016(
    root: Path | str, report: Report = refuse, only: str | None = None, name: str = "davis2016"
) -> list[Sequence]:
    """DAVIS 2016 at 480p in its original layout, JPEGImages/480p and Annotations/480p, or benchmark `name` laid out so.

    The sequences are those of ImageSets/480p/val.txt (the download's), else of ImageSets/sequences.txt
    (a name a line), else every folder of JPEGImages/480p. The protocol leaves out each sequence's first
    and last frame. Raises UserError where the layout is another, reports frames and annotations that are missing.
    """
    root = Path(root)
    require_layout(root, "DAVIS 2016", (DAVIS_IMAGES, DAVIS_TRUTH), DAVIS_ADVICE)
    return read_each(_davis_names(root, report), lambda each: _davis_sequence(root, each, report, name), report, only)


READERS: dict[str, Callable[[Path, Report, str | None], list[Sequence]]] = {
    "builtin-clips": partial(davis2016, name="builtin-clips"),
    "davis-layout": partial(davis2016, name="davis-layout"),  # anybody's own clips
    "davis2016": davis2016,
    "fbms59": fbms59,
    "segtrackv2": segtrackv2,
    "youtubevos": youtubevos,
}

# What each protocol leaves out, in the words that are stored beside its scores.
LEFT_OUT = dict.fromkeys(("builtin-clips", "davis-layout", "davis2016"), "first and last frame of every sequence")


def _davis_names(root: Path, report: Report) -> list[str]:
    """Names of the sequences, in the order of the list that says so, each once."""
    for part in DAVIS_LISTS:
        if (root / part).is_file():
            return _read_list(root / part, report)
    images = root / DAVIS_IMAGES
    names = subfolders(images)
    if not names:
        raise UserError(f"{images}: no sequence in it; every sequence is a folder of frames")
    return names


def _read_list(path: Path, report: Report) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable list of sequences ({error})") from None
    listed = [_listed_name(path, number, line.strip(), report) for number, line in enumerate(lines, 1) if line.strip()]
    names = dict.fromkeys(name for name in listed if name is not None)
    if not names:
        raise UserError(f"{path}: lists no sequence; remove it to use every folder of {DAVIS_IMAGES}")
    return list(names)


def _listed_name(path: Path, number: int, line: str, report: Report) -> str | None:
    """The sequence of a line: a bare name, or the download's pair of frame and annotation."""
    match = DAVIS_LINE.fullmatch(line)
    name = match[1] if match else line
    if not is_plain_name(name):
        report(
            f"{path}: line {number} is {line[:80]!r}; a line is the name of a sequence, or "
            "'/JPEGImages/480p/NAME/FRAME.jpg /Annotations/480p/NAME/FRAME.png'"
        )
        return None
    return name


def _davis_sequence(root: Path, name: str, report: Report, dataset: str) -> Sequence:
    images = files_by_stem(root / DAVIS_IMAGES / name, IMAGE_SUFFIXES, report)
    truths = files_by_stem(root / DAVIS_TRUTH / name, {".png"}, report)
    stems = sorted(images)
    for stem in stems:
        if stem not in truths:
            missing = root / DAVIS_TRUTH / name / f"{stem}.png"
            report(f"{images[stem]}: a frame without annotation; {missing} is missing")
    require_frames(truths, images, root / DAVIS_IMAGES / name, report)
    ends = {stems[0], stems[-1]}
    frames = tuple(BenchmarkFrame(stem, images[stem], truths.get(stem), stem in ends) for stem in stems)
    return Sequence(name, frames, dataset)
