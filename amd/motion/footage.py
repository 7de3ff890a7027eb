"""What models are judged by in a video without a label: frames of it, their motion evidence, and the flow between.

Input: a row of a manifest, or frames. Output: a Footage, and how far object masks agree with its evidence, on the
evidence's grid. A frame counts where its evidence is sure by the rules of amd.data.pairs.evidence.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, pairwise

import cv2
import numpy as np
import torch

from amd.data.ingest.manifest import source_of
from amd.data.pairs.evidence import LIMITS, SURE, EvidenceJudge, EvidenceSource
from amd.data.pairs.select import PairFilter, pair_change, thumbnail
from amd.data.video.decode import read_frames
from amd.models.amd import AMD
from amd.models.inference import object_mask, soft_masks
from amd.motion.dense import UNIT, flow_on_grid, grey_frame
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError

FRAMES = 40  # of a video
FURTHEST = 2000  # frames: the middle is not looked for beyond
CUT = 40.0  # shard.max_change of every profile

Flow = tuple[np.ndarray, np.ndarray]  # to the next frame and back, 2,h,w each, in cells of the grid


@dataclass(frozen=True)
class Footage:
    """What all models are judged by in one video: frames, their evidence and the flow between them."""

    frames: list[np.ndarray]  # uint8 H,W,3
    maps: list[np.ndarray]  # float32 h,w
    sure: list[bool]  # whether a frame's evidence is
    flows: list[Flow | None]  # one fewer than frames; None across a cut


def footage(frames: list[np.ndarray], evidence: EvidenceSource) -> Footage:
    """What masks of `frames` uint8 H,W,3, of one size, are judged by."""
    maps = list(evidence(frames))
    greys = [grey_frame(frame, min(maps[0].shape)) for frame in frames]
    adjacent = PairFilter(0.0, CUT)
    thumbnails = map(thumbnail, frames)
    cuts = [adjacent.judge(pair_change(first, second)) == "cut" for first, second in pairwise(thumbnails)]
    flows = [
        None if cut else (_cells(first, second, maps[0].shape), _cells(second, first, maps[0].shape))
        for (first, second), cut in zip(pairwise(greys), cuts, strict=True)
    ]
    return Footage(frames, maps, _sure(maps, cuts), flows)


def middle_of(row: dict) -> list[np.ndarray]:
    """FRAMES frames of a video, from its middle; UserError when fewer than two decode."""
    start = min(max(0, (row["frames"] - FRAMES) // 2), FURTHEST)
    with closing(read_frames(source_of(row), MotionSource().short_edge, None, start + FRAMES)) as decoded:
        frames = [frame.image for frame in islice(decoded, start, None)]
    if len(frames) < 2:
        raise UserError(f"{row['path']}: fewer frames than when it was ingested; run the stage ingest again")
    return frames


def object_on_grid(model: AMD, segment: int, short_edge: int | None, seen: Footage, number: int) -> np.ndarray:
    """Where a model sees its object in a frame of the footage, bool h,w; its images have the `short_edge`."""
    soft = soft_masks(model, torch.from_numpy(seen.frames[number].copy()), short_edge)
    mask = object_mask(soft, segment).cpu().numpy().astype(np.float32)
    height, width = seen.maps[number].shape
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) > SURE


def agreement(mask: np.ndarray, seen: Footage, number: int) -> float:
    """J of an object mask bool h,w and of what moves in a frame whose evidence is sure."""
    moves = seen.maps[number] > SURE
    return int((mask & moves).sum()) / max(int((mask | moves).sum()), 1)


def _sure(maps: Sequence[np.ndarray], cuts: Sequence[bool]) -> list[bool]:
    """Of every frame whether its evidence is sure; of none in a video that teaches nothing."""
    judged = EvidenceJudge()
    beside = [before or after for before, after in zip([False, *cuts], [*cuts, False], strict=True)]
    qualities = [judged.judge(p, cut) for p, cut in zip(maps, beside, strict=True)]
    return [not judged.refusal and quality >= LIMITS.least_decided for quality in qualities]


def _cells(first: np.ndarray, second: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    height, width = size
    return flow_on_grid(first, second, 0, (height, width)) * np.float32(min(size) / UNIT)
