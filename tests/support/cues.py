"""What moves and looks like an object in a few frames, part by part; see amd.motion.together."""

import numpy as np

from amd.models.evidence import load_evidence
from amd.motion.evidence import motion_evidence
from amd.motion.per_image import packaged_per_image
from amd.motion.together import both


def packaged_cues(images: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Per frame uint8 H,W,3 the map float32 h,w of both opinions, and that of motion evidence alone."""
    moves = [_kept(values) for values in motion_evidence(images, *load_evidence())]
    seen = [_kept(packaged_per_image().probability(image)) for image in images]
    return [both(*opinions) for opinions in zip(moves, seen, strict=True)], moves


def _kept(values: np.ndarray) -> np.ndarray:
    """In the 256 steps that a file between two passes has."""
    return np.float32(np.round(255 * values) / 255)
