"""Optical flow from an AMD: its motion pathway's dense flow, the second choice after dense inverse search.

Enters: an AMD, two frames. Leaves: the flow at the frames' own size. The pathway learns from no label; its dense flow
is what it reads at every pixel before segments bind it, which its loss does not see.
"""

import numpy as np
import torch
from torch import Tensor

from amd.data.flow import PairFlow
from amd.model.amd import AMD


def motion_flow(model: AMD) -> PairFlow:
    """A source for amd.data.flow.flows."""

    @torch.no_grad()
    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        frames = [_pixels(frame, model) for frame in (first, second)]
        dense = model(*frames).forward_dense_flow
        return _to_frame(dense, first.shape[:2])

    return flow


def _pixels(frame: np.ndarray, model: AMD) -> Tensor:
    device = next(model.parameters()).device
    return torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255


def _to_frame(flow: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A flow 1,2,h,w in pixels of the motion input as H,W,2 of the frame, whose corners are the input's corners."""
    resized = torch.nn.functional.interpolate(flow, size, mode="bilinear", align_corners=True)[0]
    scale = [(size[1] - 1) / (flow.shape[3] - 1), (size[0] - 1) / (flow.shape[2] - 1)]
    return (resized.permute(1, 2, 0).cpu() * torch.tensor(scale)).numpy()
