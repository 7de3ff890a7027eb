"""What a whole copy of each benchmark has: in, the sequences that were found; out, lines that say what is missing.

The counts are those of the benchmarks' publications. A benchmark with several splits is compared with the smallest
that could hold what was found.
"""

from collections.abc import Sequence as Row
from typing import NamedTuple

from amd.data.sequences import Sequence


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


def compare(dataset: str, sequences: Row[Sequence], short_edges: set[int]) -> list[str]:
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


def _missing_davis(split: Split, sequences: Row[Sequence], dataset: str) -> list[str]:
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
