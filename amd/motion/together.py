"""What moves on its own and what looks like an object, together.

Input: motion evidence of a video's frames, and what a model of single images sees in them. Output: a map per frame.
Motion and a model of single images know nothing of each other, and err in different places: their odds multiply.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from amd.data.sizes import resized
from amd.motion.spool import Spool

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


def knows(seen: Spool, moves: Spool, numbers: Iterable[int], least: float) -> bool:
    """Whether a model of single images sees enough of what moves: it knows only objects like those of its videos."""
    agreed = total = 0.0
    for number in numbers if len(seen) else ():
        values = moves[number]
        agreed += float((values * resized(seen[number], (values.shape[0], values.shape[1]))).sum())
        total += float(values.sum())
    return total > 0 and agreed >= least * total


def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The probability float32 h,w that two independent opinions come to together, at the first one's size."""
    second = resized(second, (first.shape[0], first.shape[1]))
    odds = [p / (1 - p) for p in np.clip([first, second], NEVER_SURE, 1 - NEVER_SURE)]
    return np.float32(1) - 1 / (1 + odds[0] * odds[1])
