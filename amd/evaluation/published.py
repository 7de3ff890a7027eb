"""Numbers that the papers published: full benchmarks, full training. They stand beside ours, and do not compare alone.

Sources: Liu et al., The Emergence of Objectness, NeurIPS 2021, with the rows it quotes of others.
"""

from collections.abc import Iterable
from typing import Any

from amd.data.benchmarks.sequences import Sequence

FULL = "published, full benchmark"

# Region similarity J, and of what it is the mean. DAVIS defines a mean over sequences; SegTrack v2 and FBMS-59 are
# mostly given as a mean over frames; the slides pool the pixels of YouTube-VOS.
COMPARED = {"davis2016": "sequences", "segtrackv2": "frames", "fbms59": "frames", "youtubevos": "pooled"}
WHOLE = {"davis2016": (20, 1376), "segtrackv2": (14, 976), "fbms59": (59, 720)}  # sequences, annotated frames
VOS_SIZE = {
    "davis2016": "20 sequences, 1,376 frames",
    "segtrackv2": "14 sequences, 976 frames",
    "fbms59": "59 sequences, 720 annotated frames",
}
_VOS = {  # per method: DAVIS 2016, SegTrack v2, FBMS-59
    "AMD, per image": (0.457, 0.287, 0.429),
    "AMD, adapted": (0.578, 0.570, 0.475),
    "CIS": (0.592, 0.456, 0.368),
    "MG": (0.532, 0.378, 0.504),
    "SAGE": (0.426, 0.576, 0.612),
    "CUT": (0.552, 0.543, 0.572),
    "FTS": (0.558, 0.478, 0.477),
    "NLC, with annotated edges": (0.551, 0.672, 0.515),
    "ARP, with annotated saliency": (0.762, 0.572, 0.598),
}
VOS = {dataset: {method: values[place] for method, values in _VOS.items()} for place, dataset in enumerate(VOS_SIZE)}

# Zero-shot saliency on the 5,019 test images of DUTS: F-beta, mean absolute error.
SALIENCY = {
    "AMD": (0.602, 0.13),
    "RBD": (0.510, 0.20),
    "HS": (0.521, 0.23),
    "MC": (0.529, 0.19),
    "DSR": (0.558, 0.14),
    "DRFI": (0.552, 0.15),
}


def published_vos(sequences: Iterable[Sequence]) -> dict:
    """What the papers have for a benchmark: {"size", "average", "J": {method: J}}; empty where they have nothing.

    Where the sequences are not all of the benchmark, "note" says so.
    """
    sequences = list(sequences)
    dataset = sequences[0].dataset
    if dataset not in VOS:
        return {}
    annotated = sum(frame.truth is not None for sequence in sequences for frame in sequence.frames)
    ours = f"{len(sequences)} sequences, {annotated} annotated frames"
    known = {"size": VOS_SIZE[dataset], "average": COMPARED[dataset], "J": VOS[dataset]}
    return known | note((len(sequences), annotated) == WHOLE[dataset], ours)


def note(same: bool, ours: str) -> dict[str, str]:
    """What has to stand with published numbers where ours are not of the `same` data, but of `ours`."""
    return {} if same else {"note": f"ours are of other data ({ours}), so the numbers do not compare"}


TRAIN, VAL = "DAVIS 2016 train, 30 sequences", "DAVIS 2016 val, 20 sequences"
_INTERVALS = {"1": 0.775, "5": 0.764, "10": 0.759, "20": 0.750, "40": 0.736, "never": 0.705}

PUBLISHED: dict[str, dict[str, Any]] = {
    "crf": {"source": f"tables 1 and 7, {VAL}", "plain": {"J": 0.758}, "crf": {"J": 0.785, "F": 0.755}},
    "intervals": {"source": f"table 3, {TRAIN}"} | {every: {"J": j} for every, j in _INTERVALS.items()},
    "rankings": {
        "source": f"table 4, {TRAIN}",
        "motion": {"seed_accuracy": 0.906, "J": 0.743},
        "objectness": {"seed_accuracy": 0.882, "J": 0.757},
        "both": {"seed_accuracy": 0.946, "J": 0.775},
    },
    "features": {"source": f"section 4.4, {TRAIN}", "embedding": {"J": 0.775}, "semantic": {"J": 0.652}},
    "annotated": {"source": f"table 5, {VAL}", "crf": {"J": 0.776}},
    "drift": {"source": "figures 6 and 8: plots only"},
}


def transfer_note(name: str, sequences: list[Sequence]) -> dict[str, str]:
    """The note on PUBLISHED[name] beside numbers of `sequences`; see `note`."""
    whole = 20 if VAL in PUBLISHED[name]["source"] else 30
    dataset = sequences[0].dataset
    return note(dataset == "davis2016" and len(sequences) == whole, f"{len(sequences)} sequences of {dataset}")
