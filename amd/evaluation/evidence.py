"""How good motion evidence is on a benchmark's sequences.

A pixel is taken for an object where P is above 0.5. No label is used but to score.
"""

from pathlib import Path

import cv2
import numpy as np

from amd.data.benchmarks.davis import davis2016
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image
from amd.evaluation.metrics import jaccard
from amd.models.evidence import EvidenceInfo, EvidenceNetwork
from amd.motion.dense import FlowSettings
from amd.motion.evidence import motion_evidence


def benchmark_scores(
    network: EvidenceNetwork, info: EvidenceInfo, root: Path, flow: FlowSettings | None = None
) -> dict[str, float]:
    """J of each DAVIS sequence under `root` at the annotations' size, and `mean`; ends of sequences are left out."""
    scores = {}
    for sequence in davis2016(root):
        images = (read_image(frame.image) for frame in sequence.frames)
        maps = motion_evidence(images, network, info, flow)
        scores[sequence.name] = float(
            np.mean(
                [
                    jaccard(enlarged(values, truth.shape) > 0.5, truth)
                    for frame, values in zip(sequence.frames, maps, strict=True)
                    if frame in sequence.scored_frames
                    for truth in [read_truth(frame)]
                ]
            )
        )
    return {**scores, "mean": float(np.mean(list(scores.values())))}


def enlarged(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A soft map brought to `size` (height, width)."""
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
