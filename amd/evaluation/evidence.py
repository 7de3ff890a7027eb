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
from amd.motion.evidence import motion_evidence


def benchmark_scores(network: EvidenceNetwork, info: EvidenceInfo, root: Path) -> dict[str, float]:
    """J of each DAVIS sequence under `root` at the annotations' size, and `mean`; ends of sequences are left out."""
    scores = {}
    for sequence in davis2016(root):
        images = (read_image(frame.image) for frame in sequence.frames)
        values = [
            jaccard(cv2.resize(moves, truth.shape[::-1]) > 0.5, truth)
            for frame, moves in zip(sequence.frames, motion_evidence(images, network, info), strict=True)
            if frame in sequence.scored_frames
            for truth in [read_truth(frame)]
        ]
        scores[sequence.name] = float(np.mean(values))
    return {**scores, "mean": float(np.mean(list(scores.values())))}
