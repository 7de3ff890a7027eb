"""How good the masks of a per-image AMD are on videos that it never saw, without a label.

Input: models, and rows of a manifest. Output: amd.evaluation.judged.Figures of each model in each video. Masks and
evidence are compared on the evidence's grid, in FRAMES frames from the middle of a video. A frame counts for agreement
where its evidence is sure by the rules of amd.data.pairs.evidence.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch

from amd.data.ingest.manifest import source_of
from amd.data.pairs.evidence import LIMITS, SURE, EvidenceJudge, EvidenceSource
from amd.data.pairs.select import PairFilter, pair_change, thumbnail
from amd.data.video.decode import read_frames
from amd.evaluation.judged import Figures
from amd.evaluation.metrics import jaccard, mean_over
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.inference import network_input, object_mask, soft_masks
from amd.motion.dense import UNIT, flow_on_grid, grey_frame, occluded, warp
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError
from amd.runtime.progress import progress
from amd.training.losses import LEVELS, flow_loss, view_synthesis_loss
from amd.transfer.frame import to_grid

FRAMES = 40  # of a video
FURTHEST = 2000  # frames: the middle is not looked for beyond
CUT = 40.0  # shard.max_change of every profile
PAIRS = 4  # of a video whose frames are predicted
STILL = 1e-3  # error of predicting no motion, below which nothing is to be predicted
KEY = 16  # characters of a video's SHA-256: what figures are kept by

Flow = tuple[np.ndarray, np.ndarray]  # to the next frame and back, 2,h,w each, in cells of the grid


@dataclass(frozen=True)
class Footage:
    """What all models are judged by in one video: frames, their evidence and the flow between them."""

    frames: list[np.ndarray]  # uint8 H,W,3
    maps: list[np.ndarray]  # float32 h,w
    sure: list[bool]  # whether a frame's evidence is
    flows: list[Flow | None]  # one fewer than frames; None across a cut


def judge_models(
    models: Mapping[str, tuple[AMD, ModelInfo]], rows: Sequence[dict], evidence: EvidenceSource | None = None
) -> dict[str, dict[str, Figures]]:
    """Figures of each model, by name and then by KEY characters of the video's SHA-256.

    A model is not judged by a video that it says it was trained on. A video that does not decode is left out and
    named on stderr.
    """
    found: dict[str, dict[str, Figures]] = {name: {} for name in models}
    for row in progress(rows, "held out", len(rows), "videos"):
        unseen = {
            name: model for name, model in models.items() if row["video_id"] not in model[1].lineage.get("videos", ())
        }
        if not unseen:
            continue
        try:
            seen = footage(_middle(row), evidence or MotionSource())
        except UserError as error:
            print(f"held out: left out: {error}", file=sys.stderr)
            continue
        for name, (model, info) in unseen.items():
            found[name][row["sha256"][:KEY]] = judge(model, info, seen)
    return found


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


def judge(model: AMD, info: ModelInfo, seen: Footage) -> Figures:
    """The figures of a model with an object segment in one video."""
    masks = [to_grid(_object(model, info, frame), seen.maps[0].shape) > SURE for frame in seen.frames]
    return judge_masks(masks, seen, _synthesis(model, info, seen.frames))


def judge_masks(masks: Sequence[np.ndarray], seen: Footage, synthesis: float | None = None) -> Figures:
    """The figures of object masks bool h,w of every frame, on the evidence's grid."""
    agreement = [jaccard(mask, p > SURE) for mask, p, sure in zip(masks, seen.maps, seen.sure, strict=True) if sure]
    areas = [float(mask.mean()) for mask in masks]
    odd = [area > LIMITS.largest_area or (sure and not area) for area, sure in zip(areas, seen.sure, strict=True)]
    stability = mean_over(_kept(masks, seen.flows))
    return Figures(mean_over(agreement), stability, mean_over(odd), mean_over(areas), synthesis)


def _middle(row: dict) -> list[np.ndarray]:
    """FRAMES frames of a video, from its middle; UserError when fewer than two decode."""
    start = min(max(0, (row["frames"] - FRAMES) // 2), FURTHEST)
    with closing(read_frames(source_of(row), MotionSource().short_edge, None, start + FRAMES)) as decoded:
        frames = [frame.image for frame in islice(decoded, start, None)]
    if len(frames) < 2:
        raise UserError(f"{row['path']}: fewer frames than when it was ingested; run the stage ingest again")
    return frames


def _sure(maps: Sequence[np.ndarray], cuts: Sequence[bool]) -> list[bool]:
    """Of every frame whether its evidence is sure; of none in a video that teaches nothing."""
    judged = EvidenceJudge()
    beside = [before or after for before, after in zip([False, *cuts], [*cuts, False], strict=True)]
    qualities = [judged.judge(p, cut) for p, cut in zip(maps, beside, strict=True)]
    return [not judged.refusal and quality >= LIMITS.least_decided for quality in qualities]


def _cells(first: np.ndarray, second: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    height, width = size
    return flow_on_grid(first, second, 0, (height, width)) * np.float32(min(size) / UNIT)


def _kept(masks: Sequence[np.ndarray], flows: Sequence[Flow | None]) -> list[float]:
    """J of neighbouring masks, where the one frame shows what the other does; two empty masks say nothing."""
    found = []
    for (mask, following), flow in zip(pairwise(masks), flows, strict=True):
        if flow is None:
            continue
        seen = ~occluded(*flow)
        fetched = warp(following[None].astype(np.float32), flow[0])[0] > SURE
        if (mask & seen).any() or (fetched & seen).any():
            found.append(jaccard(mask & seen, fetched & seen))
    return found


def _object(model: AMD, info: ModelInfo, frame: np.ndarray) -> np.ndarray:
    if info.object_segment is None:
        raise ValueError("the model has no object segment")
    soft = soft_masks(model, torch.from_numpy(frame.copy()), info.short_edge)
    return object_mask(soft, info.object_segment).cpu().numpy()


@torch.no_grad()
def _synthesis(model: AMD, info: ModelInfo, frames: Sequence[np.ndarray]) -> float | None:
    """The training's error on a few pairs beside that of zero flow; None where no term trained the motion pathway."""
    if not info.params.get("pretrain", {}).get("objective", {}).get("view_synthesis", 1.0):
        return None
    ratios = []
    for number in np.linspace(0, len(frames) - 2, min(PAIRS, len(frames) - 1)).astype(int):
        pair = [torch.from_numpy(frame.copy()) for frame in frames[number : number + 2]]
        first, second = (network_input(frame, info.short_edge) for frame in pair)
        output = model(first, second)
        nothing = [torch.zeros_like(flow) for flow in output.forward_flows[:LEVELS]]
        still = float(flow_loss(nothing, nothing, first, second))
        if still > STILL:
            ratios.append(float(view_synthesis_loss(output, first, second)) / still)
    return mean_over(ratios)
