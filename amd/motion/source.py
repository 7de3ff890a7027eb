"""Motion evidence for whoever reads videos in processes of their own: a source that travels to them.

Input: a file of weights. Output: amd.data.pairs.evidence's EvidenceSource.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amd.models.evidence import PACKAGED, EvidenceInfo, EvidenceNetwork, load_evidence
from amd.motion.evidence import flow_settings, motion_evidence
from amd.runtime.files import sha256

FORMAT = 1  # raise it when other maps come out for the same weights and frames


@dataclass(frozen=True)
class MotionSource:
    """A network of motion evidence, the packaged one by default, on one thread of a CPU."""

    weights: Path = PACKAGED

    @property
    def short_edge(self) -> int:
        """Of frames at which flow is estimated."""
        return _loaded(self.weights)[1].short_edge

    @property
    def grid(self) -> int:
        """Short edge of the maps."""
        return _loaded(self.weights)[1].grid

    def key(self) -> dict[str, Any]:
        """What maps depend on besides the frames."""
        flow = flow_settings(_loaded(self.weights)[1])
        return {"format": FORMAT, "weights": sha256(self.weights), "flow": asdict(flow)}

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """P float32 h,w of each of the frames uint8 H,W,3, in order."""
        torch.set_num_threads(1)  # several processes work side by side
        network, info = _loaded(self.weights)
        yield from motion_evidence(frames, network, info, threads=1)


@cache
def _loaded(weights: Path) -> tuple[EvidenceNetwork, EvidenceInfo]:
    return load_evidence(weights)
