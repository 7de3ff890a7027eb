"""What moves on its own and what looks like an object, together.

Input: a video's frames, motion evidence of them, and a model of single images. Output: a map per frame. Motion and a
model of single images know nothing of each other, and err in different places: their odds multiply. Whether the model
has a say is known at the video's end alone, so the maps wait on disk.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch

from amd.config.fused import Fused
from amd.data.sizes import resized
from amd.models.evidence import load_evidence
from amd.motion.evidence import motion_evidence
from amd.motion.per_image import PerImage, packaged_per_image
from amd.motion.spool import Spool

Evidence = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]  # of frames uint8 H,W,3, in order: float32 h,w each

NEVER_SURE = 0.01  # no opinion's probability is nearer to 0 or 1: one alone must not decide


class Maps(Protocol):
    """Maps float32 h,w in [0, 1] by the number of their frame."""

    def __getitem__(self, number: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Together:
    """What motion and single images come to together."""

    moves: Maps
    seen: Maps

    def __getitem__(self, number: int) -> np.ndarray:
        return both(self.moves[number], self.seen[number])


@contextmanager
def joined_maps(
    frames: Iterable[np.ndarray], evidence: Evidence, per_image: PerImage | None, least_known: float
) -> Iterator[Maps]:
    """The maps of a video, whose frames uint8 H,W,3 are read once; they are on disk as long as the body runs.

    Evidence stands alone without `per_image`, or where that sees less than the share `least_known` of what moves.
    """
    with Spool() as moves, Spool() as seen:
        for values in evidence(per_image.watch(frames, seen) if per_image else frames):
            moves.add(values)
        yield Together(moves, seen) if _knows(seen, moves, least_known) else moves


@contextmanager
def packaged_maps(frames: Iterable[np.ndarray], device: torch.device | str = "cpu", threads: int = 2) -> Iterator[Maps]:
    """As `joined_maps`, by the packaged networks, on `device`; `threads` estimate flow."""
    network, info = load_evidence(device=device)
    evidence = partial(motion_evidence, network=network, info=info, threads=threads)
    with joined_maps(frames, evidence, packaged_per_image(str(device)), Fused().least_known) as maps:
        yield maps


def _knows(seen: Spool, moves: Spool, least: float) -> bool:
    """Whether a model of single images sees enough of what moves: it knows only objects like those of its videos."""
    agreed = total = 0.0
    for number in range(len(seen)):
        values = moves[number]
        agreed += float((values * resized(seen[number], (values.shape[0], values.shape[1]))).sum())
        total += float(values.sum())
    return total > 0 and agreed >= least * total


def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The probability float32 h,w that two independent opinions come to together, at the first one's size."""
    second = resized(second, (first.shape[0], first.shape[1]))
    odds = [p / (1 - p) for p in np.clip([first, second], NEVER_SURE, 1 - NEVER_SURE)]
    return np.float32(1) - 1 / (1 + odds[0] * odds[1])
