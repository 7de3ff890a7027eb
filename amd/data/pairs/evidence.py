"""Motion evidence beside frame pairs: how it is stored, and how much a frame's evidence is worth to a training.

Input: per frame a map P(this pixel moves on its own), which whoever writes shards is handed a source of. Output: PNGs
of 8 bit on the map's own grid; a quality from 0 to 1 per frame, and a verdict on each video. A frame in which nothing
moves for sure teaches nothing (an object that rests is not background), one in which most of the frame moves teaches
what is wrong (it is the scene), and beside a cut flow compares two scenes: their quality is 0.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from amd.config.fused import Confidence

SURE = 0.5  # above it, a pixel is said to move
STEPS = 255  # of a stored probability and of a stored quality
LIMITS = Confidence(least_decided=0.47)  # beyond which evidence is left out: a training wants it surer than a mask
PNG_BYTES_PER_CELL = 0.25  # of stored maps, measured on real clips: what disk is planned with


class EvidenceSource(Protocol):
    """What gives evidence; it travels to other processes."""

    @property
    def short_edge(self) -> int:
        """Of frames that it wants to see, where they are that large."""

    @property
    def grid(self) -> int:
        """Short edge of its maps."""

    def key(self) -> dict[str, Any]:
        """Plain data that its maps depend on."""

    def __call__(self, frames: Iterable[np.ndarray], /) -> Iterator[np.ndarray]:
        """P float32 h,w of each of the frames uint8 H,W,3 of one video, in order.

        Each map comes after the next frame was taken, where there is one, and a few frames late at most.
        """


def encode_map(probability: np.ndarray) -> bytes:
    """A map float32 h,w as a PNG of 8 bit."""
    return cv2.imencode(".png", np.round(probability * STEPS).astype(np.uint8))[1].tobytes()


def decode_map(png: bytes) -> np.ndarray:
    """A stored map as uint8 h,w; ValueError for bytes that are no such PNG."""
    found = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 2 or found.dtype != np.uint8:
        raise ValueError("no grey PNG of 8 bit")
    return found


@dataclass
class EvidenceJudge:
    """Judges the maps of one video in their order; keeps what evidence.parquet says of it."""

    limits: Confidence = LIMITS
    frames: int = 0
    moving: float = 0.0  # sum over frames of the share that moves
    certainty: float = 0.0  # sum over frames of that share times how sure it is
    left_out: dict[str, int] = field(default_factory=lambda: {"still": 0, "scene": 0, "cut": 0})

    def judge(self, probability: np.ndarray, beside_cut: bool) -> float:
        """The quality of the next frame: how sure its evidence is where something moves, or 0."""
        moves = probability > SURE
        area = float(moves.mean())
        decided = float((2 * probability[moves] - 1).mean()) if area else 0.0
        self.frames += 1
        self.moving += area
        self.certainty += area * decided
        reason = "cut" if beside_cut else "still" if not area else "scene" if area > self.limits.largest_area else ""
        if reason:
            self.left_out[reason] += 1
        return 0.0 if reason else decided

    @property
    def confidence(self) -> float:
        """How sure evidence is over all pixels of the video that it says to move; 0 where it says of none."""
        return self.certainty / self.moving if self.moving else 0.0

    @property
    def refusal(self) -> str:
        """Why the whole video is left out; empty where it is not."""
        if self.frames and self.confidence < self.limits.least_decided:
            return f"nothing moves on its own for sure ({self.confidence:.2f})"
        return ""

    def row(self) -> dict[str, Any]:
        """The video's figures, by the names of amd.data.tables.EVIDENCE."""
        frames = max(1, self.frames)
        counts = {f"left_out_{name}": count for name, count in self.left_out.items()}
        return {
            "frames": self.frames,
            "moving": self.moving / frames,
            "confidence": self.confidence,
            **counts,
            "reason": self.refusal,
        }


def pair_quality(first: float, second: float) -> int:
    """What a pair is worth, 0 to STEPS: as much as the worse of its frames."""
    return round(min(first, second) * STEPS)
