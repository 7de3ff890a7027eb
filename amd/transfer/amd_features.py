"""Optical flow from an AMD: its motion pathway's dense flow, the second choice after dense inverse search.

Input: an AMD, two frames. Output: the flow at the frames' own size. The pathway learns from no label; its dense flow
is what it reads at every pixel before segments bind it, which its loss does not see.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, object_segment
from amd.models.embedding import EmbeddingNetwork
from amd.models.inference import network_input
from amd.motion.flow import PairFlow


def motion_flow(model: AMD) -> PairFlow:
    """A source for amd.motion.flow.flows."""

    @torch.no_grad()
    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        device = next(model.parameters()).device
        frames = [network_input(torch.from_numpy(frame).to(device), None) for frame in (first, second)]
        dense = model(*frames).forward_dense_flow
        return _to_frame(dense, first.shape[:2])

    return flow


def _to_frame(flow: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A flow 1,2,h,w in pixels of the motion input as H,W,2 of the frame, whose corners are the input's corners."""
    resized = torch.nn.functional.interpolate(flow, size, mode="bilinear", align_corners=True)[0]
    scale = [(size[1] - 1) / (flow.shape[3] - 1), (size[0] - 1) / (flow.shape[2] - 1)]
    return (resized.permute(1, 2, 0).cpu() * torch.tensor(scale)).numpy()


SURE = 1e-6  # masks are kept this far from 0 and 1


class AmdFeatures(nn.Module):
    """AMD: its backbone's features for embedding, and its object segment's soft mask for objectness."""

    def __init__(self, model: AMD, info: ModelInfo) -> None:
        """UserError for a model whose object segment nobody has chosen yet."""
        super().__init__()
        self.appearance = model.appearance.eval()
        self.segment = object_segment(info)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mask = self.appearance.masks(images)[:, self.segment].clamp(SURE, 1 - SURE)
        return F.normalize(self.appearance.features(images).float(), dim=1), torch.stack([1 - mask, mask], 1).log()


class SemanticFeatures(nn.Module):
    """The embedding network's semantic side: the features before its last layer, and its class logits."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = []
        hook = self.network.semantic[-1].register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
        logits = self.network(images)[1]
        hook.remove()
        return F.normalize(hidden[0].float(), dim=1), logits
