"""SegTrack v2 in its original layout.

Input: the folder as downloaded. Output: its sequences.

JPEGImages/<sequence>/ holds frames as .png, .bmp or .jpg. GroundTruth/<sequence>/ holds the masks, or one folder of
masks per object (1, 2, ...); a mask is named like its frame, its suffix may differ. Every frame is annotated.
"""

from pathlib import Path

from amd.data.benchmarks.sequences import (
    IMAGE_SUFFIXES,
    BenchmarkFrame,
    Report,
    Sequence,
    files_by_stem,
    is_folder,
    read_each,
    refuse,
    require_frames,
    require_layout,
    subfolders,
)
from amd.runtime.errors import UserError

SUFFIXES = IMAGE_SUFFIXES | {".bmp"}
IMAGES, TRUTH = Path("JPEGImages"), Path("GroundTruth")


def segtrackv2(root: Path | str, report: Report = refuse, only: str | None = None) -> list[Sequence]:
    """Every folder of JPEGImages as a sequence; several objects are merged, no frame is left out.

    An object's folder may lack frames in which the object is away. Raises UserError for a folder of another layout;
    reports a frame that no object's folder annotates, and a mask without frame. All name the path.
    """
    root = Path(root)
    require_layout(root, "SegTrack v2", (IMAGES, TRUTH), "give the folder as downloaded")
    names = subfolders(root / IMAGES)
    if not names:
        raise UserError(f"{root / IMAGES}: no sequence in it; every sequence is a folder of frames")
    return read_each(names, lambda name: _sequence(root, name, report), report, only)


def _sequence(root: Path, name: str, report: Report) -> Sequence:
    images = files_by_stem(root / IMAGES / name, SUFFIXES, report)
    objects = [files_by_stem(folder, SUFFIXES, report) for folder in _object_folders(root / TRUTH / name)]
    for truths in objects:
        require_frames(truths, images, root / IMAGES / name, report)
    return Sequence(name, tuple(_frame(stem, images[stem], objects, report) for stem in sorted(images)), "segtrackv2")


def _object_folders(truth: Path) -> list[Path]:
    """One folder per object; the sequence's own where there is a single object."""
    if not is_folder(truth):
        raise UserError(f"{truth}: the sequence's folder is missing; complete the copy of the benchmark")
    return [truth / name for name in subfolders(truth)] or [truth]


def _frame(stem: str, image: Path, objects: list[dict[str, Path]], report: Report) -> BenchmarkFrame:
    paths = [truths[stem] for truths in objects if stem in truths]
    if not paths:
        report(f"{image}: a frame without annotation; complete the copy of the benchmark")
        return BenchmarkFrame(stem, image, None)
    return BenchmarkFrame(stem, image, paths[0], more_truth=tuple(paths[1:]))
