"""What there is of a benchmark against what it should have.

Input: its name and folder. Output: a report in text.

Everything is looked at: a sequence that is missing or damaged is told and stops no other. Every image and truth is
decoded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from amd.data.benchmarks.davis import LEFT_OUT, READERS, open_benchmark
from amd.data.benchmarks.image_sets import IMAGE_SETS, VOC_LISTS, open_images
from amd.data.benchmarks.instances import VOC_CLASSES, VOID
from amd.data.benchmarks.sequences import BenchmarkFrame, Sequence, read_truth
from amd.data.benchmarks.voc import MERGED_LISTS, WHOLE, read_classes, training_images
from amd.data.images import read_image
from amd.runtime.errors import UserError
from amd.runtime.progress import progress

DAMAGED = "damaged: "  # how a problem begins that a file has
NOTHING_TO_SCORE = "no frame to score"


class Row(NamedTuple):
    """One sequence, or one set of images."""

    name: str
    frames: int
    annotated: int
    scored: int  # frames that count and are readable
    sizes: set[tuple[int, int]]  # height, width
    empty: int  # annotated frames without object


def check_dataset(name: str, root: Path | str, damage: Callable[[str], None] | None = None) -> str:
    """The report; UserError for an unknown name or a folder of another layout.

    `damage` is told of every file that is damaged and every sequence in which nothing can be scored.
    """
    problems: list[str] = []
    sequences = _open(name, root, problems)
    rows = [_examine(sequence, problems) for sequence in progress(sequences, "doctor", unit="sequences")]
    edges = {min(size) for row in rows for size in row.sizes}
    parts = [*_table(rows), "", _totals(name, rows), *compare(name, sequences, edges)]
    if name == "voc2012":
        parts.append(_voc_training(Path(root), problems))
    verdict = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    for problem in problems:
        if damage and (problem.startswith(DAMAGED) or NOTHING_TO_SCORE in problem):
            damage(problem)
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
            problems.append(f"{DAMAGED}{error}")
            continue
        sizes.add(size)
        scored += frame.truth is not None and not frame.left_out
        empty += has_object is False
    if not sequence.scored_frames:
        problems.append(f"{sequence.name}: {NOTHING_TO_SCORE}; its annotated frames are left out or missing")
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
    frames, annotated = sum(row.frames for row in rows), sum(row.annotated for row in rows)
    scored = sum(row.scored for row in rows)
    counts = f"{len(rows)} sequences, {frames} frames" if name in READERS else f"{frames} images"
    left_out = f" (left out: {LEFT_OUT[name]})" if name in LEFT_OUT else ""
    return f"{counts}, {annotated} annotated, {scored} to be scored{left_out}"


class Split(NamedTuple):
    """A split of a benchmark; None where a number is not published."""

    name: str
    sequences: int | None
    annotated: int | None
    short_edge: int | None = None  # pixels, where every frame has the same


SPLITS: dict[str, tuple[Split, ...]] = {  # the smallest first
    "davis2016": (
        Split("validation set", 20, 1376, 480),
        Split("training set", 30, 2079, 480),
        Split("", 50, 3455, 480),
    ),
    "segtrackv2": (Split("", 14, 976),),
    "fbms59": (Split("", 59, 720),),  # 29 sequences for training, 30 for testing
    "youtubevos": (Split("validation set of 2018", 474, None), Split("training set", 3471, None)),
    "duts": (Split("test set", None, 5019),),
    "voc2012": (Split("validation set", None, 1449),),
}

# Frames of every sequence of the DAVIS 2016 validation set, all annotated.
DAVIS_VALIDATION = {
    "blackswan": 50, "bmx-trees": 80, "breakdance": 84, "camel": 90, "car-roundabout": 75, "car-shadow": 40,
    "cows": 104, "dance-twirl": 90, "dog": 60, "drift-chicane": 52, "drift-straight": 50, "goat": 90,
    "horsejump-high": 50, "kite-surf": 50, "libby": 49, "motocross-jump": 40, "paragliding-launch": 80,
    "parkour": 100, "scooter-black": 43, "soapbox": 99,
}  # fmt: skip


def compare(dataset: str, sequences: list[Sequence], short_edges: set[int]) -> list[str]:
    """What is there against what should be, a line each; empty for a benchmark without published numbers."""
    splits = SPLITS.get(dataset)
    if splits is None:
        return []
    annotated = sum(frame.truth is not None for sequence in sequences for frame in sequence.frames)
    split = next((split for split in splits if len(sequences) <= (split.sequences or len(sequences))), splits[-1])
    return [
        _counts(split, len(sequences), annotated),
        *_sizes(split, short_edges),
        *_missing_davis(split, sequences, dataset),
    ]


def _counts(split: Split, sequences: int, annotated: int) -> str:
    counts = [
        (split.sequences, sequences, "sequences"),
        (split.annotated, annotated, "annotated frames" if split.sequences else "annotated images"),
    ]
    known = [(whole, found, unit) for whole, found, unit in counts if whole is not None]
    complete = all(found >= whole for whole, found, _ in known)
    parts = ", ".join(f"{found} of {whole} {unit}" for whole, found, unit in known)
    title = f"the benchmark's {split.name}" if split.name else "the whole benchmark"
    return f"{title}: {parts}: {'complete' if complete else 'NOT complete'}"


def _sizes(split: Split, short_edges: set[int]) -> list[str]:
    if split.short_edge is None or short_edges <= {split.short_edge}:
        return []
    found = ", ".join(map(str, sorted(short_edges)))
    return [f"the benchmark's frames have a short edge of {split.short_edge} pixels; here it is {found}"]


def _missing_davis(split: Split, sequences: list[Sequence], dataset: str) -> list[str]:
    """Sequences and frames that the validation set has besides, by name."""
    if dataset != "davis2016" or split.name != "validation set":
        return []
    found = {sequence.name: len(sequence.frames) for sequence in sequences}
    if not found.keys() & DAVIS_VALIDATION.keys():
        return []  # other videos in the benchmark's layout
    missing = [name for name in DAVIS_VALIDATION if name not in found]
    short = [f"{name} has {found[name]} of {frames} frames" for name, frames in DAVIS_VALIDATION.items()
             if name in found and found[name] != frames]  # fmt: skip
    return ([f"not here: {', '.join(missing)}"] if missing else []) + short
