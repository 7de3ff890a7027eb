"""What there is of a benchmark against what it should have: in, its name and folder; out, a report in text.

Every image and truth is decoded. One damaged file is told and stops no other.
"""

from pathlib import Path
from typing import NamedTuple

from amd.data.benchmarks import LEFT_OUT, READERS, open_benchmark
from amd.data.image_sets import IMAGE_SETS, open_images
from amd.data.images import read_image
from amd.data.sequences import BenchmarkFrame, Sequence, read_truth
from amd.errors import UserError
from amd.progress import progress


class Published(NamedTuple):
    """What the whole benchmark has; None where it is not published or depends on the split."""

    sequences: int | None
    annotated: int | None


PUBLISHED = {
    "davis2016": Published(20, 1376),  # the validation set
    "segtrackv2": Published(14, 976),
    "fbms59": Published(59, 720),
    "duts": Published(None, 5019),
    "voc2012": Published(None, 1449),  # val
}


class Row(NamedTuple):
    """One sequence, or one set of images."""

    name: str
    frames: int
    annotated: int
    scored: int
    sizes: set[str]
    empty: int  # annotated frames without object
    problems: list[str]


def check_dataset(name: str, root: Path | str) -> str:
    """The report; UserError for an unknown name or a folder of another layout."""
    if name in IMAGE_SETS:
        sequences = [Sequence("images", tuple(open_images(name, root)), name)]
    elif name in READERS:
        sequences = open_benchmark(name, root)
    else:
        known = ", ".join(sorted([*READERS, *IMAGE_SETS]))
        raise UserError(f"{name}: no such benchmark; there are {known}")
    rows = [_examine(sequence) for sequence in progress(sequences, "doctor", unit="sequences")]
    return "\n".join([*_table(rows), "", _totals(name, rows), *(line for row in rows for line in row.problems)])


def _examine(sequence: Sequence) -> Row:
    row = Row(sequence.name, len(sequence.frames), 0, len(sequence.scored_frames), set(), 0, [])
    for frame in sequence.frames:
        row = row._replace(annotated=row.annotated + (frame.truth is not None))
        try:
            row = row._replace(empty=row.empty + _examine_frame(frame, row.sizes))
        except UserError as error:
            row.problems.append(f"damaged: {error}")
    if not row.scored:
        row.problems.append(f"{sequence.name}: no frame to score; its annotated frames are left out or missing")
    return row


def _examine_frame(frame: BenchmarkFrame, sizes: set[str]) -> bool:
    """Whether the frame's truth is empty; UserError for damage, and for a truth of another size."""
    height, width = read_image(frame.image).shape[:2]
    sizes.add(f"{width}x{height}")
    if frame.truth is None:
        return False
    truth = read_truth(frame)
    if truth.shape != (height, width):
        size = f"{truth.shape[1]}x{truth.shape[0]}"
        raise UserError(f"{frame.truth}: {size} pixels, but its frame has {width}x{height}; replace it")
    return not truth.any()


def _table(rows: list[Row]) -> list[str]:
    width = max(len("sequence"), *(len(row.name) for row in rows))
    lines = [f"{'sequence':{width}}  frames  annotated  scored  empty       size"]
    for row in rows:
        size = "unreadable" if not row.sizes else min(row.sizes) if len(row.sizes) == 1 else f"{len(row.sizes)} sizes"
        lines.append(f"{row.name:{width}}  {row.frames:6}  {row.annotated:9}  {row.scored:6}  {row.empty:5}  {size:>9}")
    return lines


def _totals(name: str, rows: list[Row]) -> str:
    frames, annotated, scored = (sum(row[field] for row in rows) for field in (1, 2, 3))
    counts = f"{len(rows)} sequences, {frames} frames" if name in READERS else f"{frames} images"
    published = PUBLISHED.get(name, Published(None, None))
    should = [
        f"{published.sequences} sequences" if published.sequences else "",
        f"{published.annotated} annotated" if published.annotated else "",
    ]
    whole = ", ".join(part for part in should if part)
    complete = published.annotated in (None, annotated) and published.sequences in (None, len(rows))
    verdict = f"; the whole benchmark has {whole}: {'complete' if complete else 'NOT complete'}" if whole else ""
    left_out = f" (left out: {LEFT_OUT[name]})" if name in LEFT_OUT else ""
    damaged = sum(len(row.problems) for row in rows)
    return f"{counts}, {annotated} annotated, {scored} to be scored{left_out}{verdict}; {damaged} problems"
