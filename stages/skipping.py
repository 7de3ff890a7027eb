"""What a stage leaves when its dataset is not configured: a line, a JSON that says why, and empty pictures for DVC."""

from collections.abc import Iterable
from pathlib import Path

from amd.draw.sheet import write_sheet
from amd.runtime.files import write_json


def skip(stage: str, reason: str, report: Path, pictures: Iterable[Path]) -> None:
    """Say that `stage` has nothing to do; its outputs exist, so DVC takes it for done until a parameter changes."""
    write_json(report, {"skipped": reason})
    for path in pictures:
        write_sheet(path, [f"skipped: {stage}"], [])
    print(f"{stage}: skipped; {reason}")
