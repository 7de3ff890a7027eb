"""What there is of a benchmark against what it should have: in, its name and folder; out, a report in text.

Everything is looked at: a sequence that is missing or damaged is told and stops no other. Every image and truth is
decoded.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from amd.data.benchmarks import LEFT_OUT, READERS, open_benchmark
from amd.data.completeness import compare
from amd.data.image_sets import IMAGE_SETS, VOC_LISTS, open_images
from amd.data.images import read_image
from amd.data.instances import VOC_CLASSES, VOID
from amd.data.semantic_sets import MERGED_LISTS, WHOLE, read_classes, training_images
from amd.data.sequences import BenchmarkFrame, Sequence, read_truth
from amd.errors import UserError
from amd.progress import progress


class Row(NamedTuple):
    """One sequence, or one set of images."""

    name: str
    frames: int
    annotated: int
    scored: int  # frames that count and are readable
    sizes: set[tuple[int, int]]  # height, width
    empty: int  # annotated frames without object


def check_dataset(name: str, root: Path | str) -> str:
    """The report; UserError for an unknown name or a folder of another layout."""
    problems: list[str] = []
    sequences = _open(name, root, problems)
    rows = [_examine(sequence, problems) for sequence in progress(sequences, "doctor", unit="sequences")]
    edges = {min(size) for row in rows for size in row.sizes}
    parts = [*_table(rows), "", _totals(name, rows), *compare(name, sequences, edges)]
    if name == "voc2012":
        parts.append(_voc_training(Path(root), problems))
    verdict = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    return "\n".join([*parts, f"{verdict}{':' if problems else ''}", *(f"  {problem}" for problem in problems)])


def _open(name: str, root: Path | str, problems: list[str]) -> list[Sequence]:
    if name in IMAGE_SETS:
        return [Sequence("images", tuple(open_images(name, root, problems.append)), name)]
    if name in READERS:
        return open_benchmark(name, root, problems.append)
    raise UserError(f"{name}: no such benchmark; there are {', '.join(sorted([*READERS, *IMAGE_SETS]))}")


def _examine(sequence: Sequence, problems: list[str]) -> Row:
    annotated = sum(frame.truth is not None for frame in sequence.frames)
    scored, empty, sizes = 0, 0, set()
    for frame in sequence.frames:
        try:
            size, has_object = _examine_frame(frame, sequence.dataset)
        except UserError as error:
            problems.append(f"damaged: {error}")
            continue
        sizes.add(size)
        scored += frame.truth is not None and not frame.left_out
        empty += has_object is False
    if not sequence.scored_frames:
        problems.append(f"{sequence.name}: no frame to score; its annotated frames are left out or missing")
    elif annotated == empty:
        problems.append(f"{sequence.name}: no object in any of its {annotated} annotations; nothing to find")
    return Row(sequence.name, len(sequence.frames), annotated, scored, sizes, empty)


def _examine_frame(frame: BenchmarkFrame, dataset: str) -> tuple[tuple[int, int], bool | None]:
    """Height and width, and whether the truth has an object (None without truth); UserError for damage."""
    height, width = read_image(frame.image).shape[:2]
    if frame.truth is None:
        return (height, width), None
    truth = _read_classes(frame) if dataset == "voc2012" else read_truth(frame)
    if truth.shape != (height, width):
        size = f"{truth.shape[1]}x{truth.shape[0]}"
        raise UserError(f"{frame.truth}: {size} pixels, but its frame has {width}x{height}; replace it")
    return (height, width), bool(truth.any())


def _voc_training(root: Path, problems: list[str]) -> str:
    """What there is to fine-tune on, beside the validation images that are scored."""
    if not any((root / VOC_LISTS / f"{split}.txt").is_file() for split in ("train", *MERGED_LISTS)):
        return f"training images: none, no train.txt in {root / VOC_LISTS}"
    row = _examine(Sequence("train", tuple(training_images(root, report=problems.append)), "voc2012"), problems)
    whole = f"VOC has {WHOLE['train']}, with SBD {WHOLE['train with SBD']}"
    return f"training images: {row.annotated} annotated, {row.scored} readable; {whole}"


def _read_classes(frame: BenchmarkFrame) -> np.ndarray:
    """Where a class map of VOC has an object; UserError for other values, and where all of it is void."""
    labels = read_classes(frame, 1 + len(VOC_CLASSES))
    if (labels == VOID).all():
        raise UserError(f"{frame.truth}: all void ({VOID}), so nothing of it can be scored; remove it from the list")
    return (labels > 0) & (labels != VOID)


def _table(rows: list[Row]) -> list[str]:
    width = max([len("sequence"), *(len(row.name) for row in rows)])
    lines = [f"{'sequence':{width}}  frames  annotated  scored  empty       size"]
    for row in rows:
        size = _size(row.sizes)
        lines.append(f"{row.name:{width}}  {row.frames:6}  {row.annotated:9}  {row.scored:6}  {row.empty:5}  {size:>9}")
    return lines


def _size(sizes: set[tuple[int, int]]) -> str:
    if not sizes:
        return "unreadable"
    height, width = min(sizes)
    return f"{width}x{height}" if len(sizes) == 1 else f"{len(sizes)} sizes"


def _totals(name: str, rows: list[Row]) -> str:
    frames, annotated, scored = (sum(row[field] for row in rows) for field in (1, 2, 3))
    counts = f"{len(rows)} sequences, {frames} frames" if name in READERS else f"{frames} images"
    left_out = f" (left out: {LEFT_OUT[name]})" if name in LEFT_OUT else ""
    return f"{counts}, {annotated} annotated, {scored} to be scored{left_out}"
