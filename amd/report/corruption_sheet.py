"""Corrupted frames with their masks as one picture: a column per version of the frames, a pair of rows per sequence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from amd.data.sequences import Sequence
from amd.evaluation.robustness import Masks
from amd.evaluation.versions import FRAME_GAP, Version
from amd.overlay import draw_mask
from amd.report.sheet import write_sheet


def write_corruption_sheet(
    path: Path, sequences: list[Sequence], made: list[Version], masks_of: Callable[[str], Masks]
) -> None:
    """A PNG: of each of `sequences` the middle scored frame in every version, and below it its mask.

    A frame gap is left out: its frames look like the others. So is a sequence without a frame that counts.
    """
    shown = [version for version in made if version.name != FRAME_GAP]
    rows = []
    for sequence in sequences:
        if sequence.scored_frames:
            pairs = [_pictures(version, sequence, masks_of(version.name)) for version in shown]
            rows += [list(row) for row in zip(*pairs, strict=True)]
    write_sheet(path, [version.name.replace("_", " ") for version in shown], rows)


def _pictures(version: Version, sequence: Sequence, masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    """The middle frame, and the frame with its mask."""
    frame = sequence.scored_frames[len(sequence.scored_frames) // 2]
    image, _ = version.read(frame)
    return image, draw_mask(image, masks(sequence, frame, image))
