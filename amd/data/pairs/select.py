"""Which frame pairs teach something: neither a repeated frame nor a cut.

A pair's change is the mean absolute grey difference of the two frames at thumbnail size (0 to 255).
A pair is still when its change is below `min_change`. It is a cut when its change is above `max_change`
and also out of line with the pairs before it, so that fast motion all along is kept.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import cv2
import numpy as np

THUMBNAIL = 64  # pixels of the short edge: enough to see change, blind to noise
HISTORY = 8  # moving pairs whose median says what is usual in this video
OUT_OF_LINE = 3.0  # times the usual change

Verdict = Literal["keep", "still", "cut"]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Grey float32 thumbnail of an RGB uint8 frame H,W,3 with a short edge of 64 pixels."""
    height, width = image.shape[:2]
    scale = THUMBNAIL / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    while min(grey.shape) >= 4 * THUMBNAIL:  # halving is many times as fast as shrinking by anything else
        rows, columns = grey.shape[0] // 2, grey.shape[1] // 2
        grey = cv2.resize(grey[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, size, interpolation=interpolation).astype(np.float32)


def pair_change(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two thumbnails of one size, in grey levels (0 to 255)."""
    return float(np.abs(first - second).mean())


@dataclass
class PairFilter:
    """Judges the pairs of one video in their order; keeps counts of each verdict."""

    min_change: float
    max_change: float
    counts: dict[Verdict, int] = field(default_factory=lambda: {"keep": 0, "still": 0, "cut": 0})
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def judge(self, change: float) -> Verdict:
        """The verdict on the next pair, given its change."""
        verdict: Verdict = "keep"
        if change < self.min_change:
            verdict = "still"
        elif change > self.max_change and (not self._recent or change > OUT_OF_LINE * median(self._recent)):
            verdict = "cut"
        else:
            self._recent.append(change)
        self.counts[verdict] += 1
        return verdict
