"""FBMS-59 in its original layout.

Input: the folder as downloaded. Output: its sequences with their sparse truth.

Testset/<sequence>/ and Trainingset/<sequence>/ hold the frames and a folder GroundTruth, which annotates one frame in
about twenty. A truth is named like its frame, some with _gt behind: marple1_001.pgm, bear01_0001_gt.ppm. It paints
every region in a colour of its own. The first region of GroundTruth/<sequence>Def.dat is the background, its "scale"
a grey value or 0xRRGGBB; all others are objects, merged here. Without that file the background is white in a .ppm and
black in a .pgm or .png. Where a frame has a .ppm and a .pgm the .ppm counts: the .pgm maps some objects to the
background's grey. Files with PROB in their names are no truth.
"""

import re
from pathlib import Path

from amd.data.benchmarks.sequences import (
    IMAGE_SUFFIXES,
    BenchmarkFrame,
    Report,
    Sequence,
    files_by_stem,
    is_folder,
    nearby,
    read_each,
    refuse,
    require_frames,
    subfolders,
    visible_names,
)
from amd.runtime.errors import UserError

SPLITS = ("Trainingset", "Testset")
TRUTH = "GroundTruth"
PREFERENCE = (".ppm", ".png", ".pgm")  # of the copies of one truth
WHITE = (255, 255, 255)
BACKGROUND_SCALE = re.compile(r"Scale of region 0\s*:\s*(\d{1,8})\b")


def fbms59(root: Path | str, report: Report = refuse, only: str | None = None) -> list[Sequence]:
    """The sequences of Trainingset and Testset, or of the one that is there or given; no frame is left out.

    Frames without truth are not scored. Raises UserError for a folder of another layout; reports a sequence that is in
    both sets, and a truth without frame. All name the path.
    """
    folders: dict[str, Path] = {}
    for folder in _sequence_folders(Path(root)):
        if folder.name in folders:
            report(f"{folder}: the same sequence as {folders[folder.name]}; keep one of them")
        folders.setdefault(folder.name, folder)
    return read_each(folders, lambda name: _sequence(folders[name], report), report, only)


def _sequence_folders(root: Path) -> list[Path]:
    if not is_folder(root):
        raise UserError(f"{root}: no such folder; give the one that holds {' and '.join(SPLITS)}")
    if found := _below(root):
        return found
    for folder in nearby(root):
        if _below(folder):
            raise UserError(f"{root}: not FBMS-59, no sequence with {TRUTH} is in it; did you mean {folder}?")
    raise UserError(f"{root}: not FBMS-59, {' and '.join(SPLITS)} are missing; give the folder as downloaded")


def _below(root: Path) -> list[Path]:
    """The sequences' folders in the sets below `root`, else in `root` itself."""
    splits = [root / name for name in SPLITS if is_folder(root / name)] or [root]
    return [split / name for split in splits for name in subfolders(split) if is_folder(split / name / TRUTH)]


def _sequence(folder: Path, report: Report) -> Sequence:
    images = files_by_stem(folder, IMAGE_SUFFIXES, report)
    truths = _truths(folder / TRUTH)
    require_frames(truths, images, folder, report)
    scale = _background_scale(folder / TRUTH)
    frames = tuple(
        BenchmarkFrame(stem, images[stem], truth, background=_background(truth, scale) if truth else None)
        for stem, truth in ((stem, truths.get(stem)) for stem in sorted(images))
    )
    return Sequence(folder.name, frames, "fbms59")


def _truths(folder: Path) -> dict[str, Path]:
    """The truth of each annotated frame, by the frame's name."""
    truths: dict[str, Path] = {}
    for suffix in reversed(PREFERENCE):
        for name in visible_names(folder):
            path = folder / name
            if path.suffix.lower() == suffix and "PROB" not in name:
                truths[path.stem.removesuffix("_gt")] = path
    if not truths:
        raise UserError(f"{folder}: no truth in it ({', '.join(PREFERENCE)}); complete the copy of the benchmark")
    return truths


def _background_scale(folder: Path) -> int | None:
    """What the definition file says of region 0; None where there is no such file."""
    files = [folder / name for name in visible_names(folder) if name.endswith("Def.dat")]
    if not files:
        return None
    try:
        match = BACKGROUND_SCALE.search(files[0].read_text(encoding="latin-1"))
    except OSError as error:
        raise UserError(f"{files[0]}: cannot be read ({error.strerror}); check its permissions") from None
    if match is None or int(match[1]) > 0xFFFFFF:
        raise UserError(f"{files[0]}: no colour of region 0, the background, in it; complete the copy")
    return int(match[1])


def _background(truth: Path, scale: int | None) -> tuple[int, int, int]:
    if scale is None:
        return WHITE if truth.suffix.lower() == ".ppm" else (0, 0, 0)
    if scale > 255:
        return (scale >> 16, scale >> 8 & 255, scale & 255)
    return (scale, scale, scale)
