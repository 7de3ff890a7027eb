"""Motion evidence of a video: per frame a soft map P(this pixel moves on its own), from flow alone, without a label.

Input: frames in order, of any number. Output: one map per frame, as it becomes known; few frames are held at a time.
The maps of neighbouring frames are averaged along the flow, which takes away what only one of them says.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from amd.models.evidence import EvidenceInfo, EvidenceNetwork
from amd.motion.dense import UNIT, FlowSettings, FrameFlows, neighbour_flows, warp
from amd.motion.inputs import input_and_residual
from amd.motion.parallax import Parallax

BATCH = 4  # frames that the network sees at a time
ROUNDS = 1  # of averaging along the flow; 0 leaves each frame by itself


@dataclass(frozen=True)
class _Logits:
    """A frame's logits h,w, and its flows to the frames before and after, in cells of the grid; None at an end."""

    logits: np.ndarray
    before: np.ndarray | None
    after: np.ndarray | None


def flow_settings(info: EvidenceInfo) -> FlowSettings:
    """How the network that `info` tells of wants flow to be estimated."""
    return FlowSettings(gaps=info.gaps, short_edge=info.short_edge, grid=info.grid)


def motion_evidence(
    frames: Iterable[np.ndarray],
    network: EvidenceNetwork,
    info: EvidenceInfo,
    flow: FlowSettings | None = None,
    rounds: int = ROUNDS,
    threads: int = 2,
    parallax: Parallax | None = None,
) -> Iterator[np.ndarray]:
    """P float32 h,w of each of `frames` (uint8 RGB H,W,3, of one size), on the grid of `flow`.

    `threads` estimate flow while the network, on the device that it is on, works at earlier frames. A video of one
    frame shows no motion: its map is zero. `parallax` counts how much may be depth. UserError when two frames differ in
    size.
    """
    settings = flow or flow_settings(info)
    if settings.gaps != info.gaps:
        raise ValueError(f"the network was trained on flows over {info.gaps} frames, not {settings.gaps}")
    stream = _logits(neighbour_flows(frames, settings, threads), network, info, parallax)
    for _ in range(rounds):
        stream = _averaged(stream)
    for entry in stream:
        yield 1 / (1 + np.exp(-entry.logits))


def _logits(
    flows: Iterator[FrameFlows], network: EvidenceNetwork, info: EvidenceInfo, parallax: Parallax | None = None
) -> Iterator[_Logits]:
    """The network's word on each frame."""
    device = next(network.parameters()).device
    nearest = 2 * info.gaps.index(min(info.gaps))
    while batch := list(islice(flows, BATCH)):
        stacked = torch.from_numpy(np.stack([entry.flows for entry in batch])).to(device)
        with torch.inference_mode():
            inputs, residual = input_and_residual(stacked, info.degree)
            found = network(inputs).float()
            if parallax is not None:
                parallax.add(found.sigmoid(), stacked.float(), residual)
            logits = found.cpu().numpy()
        for entry, values in zip(batch, logits, strict=True):
            cells = min(values.shape) / UNIT  # of the grid, to a pixel of the flow's unit
            ends = [entry.flows[nearest + side] * cells if entry.real[nearest + side] else None for side in (0, 1)]
            still = not any(entry.real)
            yield _Logits(np.full_like(values, -np.inf) if still else values, *ends)


def _averaged(stream: Iterator[_Logits]) -> Iterator[_Logits]:
    """Each frame's logits averaged with its neighbours', fetched along the flow."""
    window: deque[_Logits] = deque(maxlen=3)
    for entry in stream:
        window.append(entry)
        if len(window) > 1:
            yield _mean(window[-3] if len(window) > 2 else None, window[-2], window[-1])
    if window:
        yield _mean(window[-2] if len(window) > 1 else None, window[-1], None)


def _mean(before: _Logits | None, entry: _Logits, after: _Logits | None) -> _Logits:
    maps = [entry.logits]
    for neighbour, flow in ((before, entry.before), (after, entry.after)):
        if neighbour is not None and flow is not None:
            maps.append(warp(neighbour.logits[None], flow)[0])
    return _Logits(np.asarray(np.mean(maps, axis=0, dtype=np.float32)), entry.before, entry.after)
