"""YouTube-VOS, one split in its original layout.

Input: the folder with meta.json. Output: its sequences with sparse truth.

JPEGImages/<video>/*.jpg and Annotations/<video>/*.png, palette images whose index is the object, 0 the background.
"""

from pathlib import Path

from amd.data.benchmarks.sequences import (
    BenchmarkFrame,
    Report,
    Sequence,
    files_by_stem,
    is_plain_name,
    read_each,
    refuse,
    require_frames,
    require_layout,
)
from amd.runtime.errors import UserError
from amd.runtime.files import read_json

META, IMAGES, TRUTH = Path("meta.json"), Path("JPEGImages"), Path("Annotations")


def youtubevos(root: Path | str, report: Report = refuse, only: str | None = None) -> list[Sequence]:
    """The videos of meta.json; several objects are merged, frames without annotation are not scored.

    Raises UserError for a folder of another layout and a meta.json that lists no videos; reports a video that is
    missing, and an annotation without frame. All name the path.
    """
    root = Path(root)
    require_layout(root, "YouTube-VOS", (META, IMAGES, TRUTH), "give one split as downloaded, as train or valid")
    return read_each(_names(root / META, report), lambda name: _sequence(root, name, report), report, only)


def _names(path: Path, report: Report) -> list[str]:
    meta = read_json(path)
    videos = meta.get("videos") if isinstance(meta, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise UserError(f'{path}: lists no videos; it has {{"videos": {{NAME: ...}}}} in the download')
    for name in videos:
        if not is_plain_name(name):
            report(f"{path}: {name[:80]!r} is no name of a video; it would lie outside of {IMAGES}")
    return sorted(filter(is_plain_name, videos))


def _sequence(root: Path, name: str, report: Report) -> Sequence:
    images = files_by_stem(root / IMAGES / name, {".jpg", ".jpeg"}, report)
    truths = files_by_stem(root / TRUTH / name, {".png"}, report)
    require_frames(truths, images, root / IMAGES / name, report)
    frames = tuple(BenchmarkFrame(stem, images[stem], truths.get(stem)) for stem in sorted(images))
    return Sequence(name, frames, "youtubevos")
