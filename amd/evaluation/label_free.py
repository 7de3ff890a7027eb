"""How good the masks of a per-image AMD are on videos that it never saw, without a label.

Input: models, and rows of a manifest. Output: amd.evaluation.judged.Figures of each model in each video, by the frames
and their motion evidence of amd.motion.footage.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from amd.data.pairs.evidence import LIMITS, SURE, EvidenceSource
from amd.evaluation.judged import Figures
from amd.evaluation.metrics import jaccard, mean_over
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.inference import network_input
from amd.motion.dense import occluded, warp
from amd.motion.footage import Flow, Footage, agreement, footage, middle_of, object_on_grid
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError
from amd.runtime.progress import progress
from amd.training.losses import LEVELS, flow_loss, view_synthesis_loss

PAIRS = 4  # of a video whose frames are predicted
STILL = 1e-3  # error of predicting no motion, below which nothing is to be predicted
KEY = 16  # characters of a video's SHA-256: what figures are kept by


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
            seen = footage(middle_of(row), evidence or MotionSource())
        except UserError as error:
            print(f"held out: left out: {error}", file=sys.stderr)
            continue
        for name, (model, info) in unseen.items():
            found[name][row["sha256"][:KEY]] = judge(model, info, seen)
    return found


def judge(model: AMD, info: ModelInfo, seen: Footage) -> Figures:
    """The figures of a model with an object segment in one video."""
    if info.object_segment is None:
        raise ValueError("the model has no object segment")
    chosen, edge = info.object_segment, info.short_edge
    masks = [object_on_grid(model, chosen, edge, seen, number) for number in range(len(seen.frames))]
    return judge_masks(masks, seen, _synthesis(model, info, seen.frames))


def judge_masks(masks: Sequence[np.ndarray], seen: Footage, synthesis: float | None = None) -> Figures:
    """The figures of object masks bool h,w of every frame, on the evidence's grid."""
    agreements = [agreement(mask, seen, number) for number, mask in enumerate(masks) if seen.sure[number]]
    areas = [float(mask.mean()) for mask in masks]
    odd = [area > LIMITS.largest_area or (sure and not area) for area, sure in zip(areas, seen.sure, strict=True)]
    stability = mean_over(_kept(masks, seen.flows))
    return Figures(mean_over(agreements), stability, mean_over(odd), mean_over(areas), synthesis)


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
