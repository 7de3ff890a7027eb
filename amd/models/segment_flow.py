"""Segment flow (paper 3.3, eqs. 3 to 5): motion features pooled per segment, one flow vector each."""

import torch
from torch import Tensor
from torch.nn import functional as F

VANISHED = 1e-6  # of a mask's summed weight: keeps the average of an empty segment finite


def resize_masks(masks: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Masks B,c,h,w at another size, bilinear with aligned corners."""
    return F.interpolate(masks, tuple(size), mode="bilinear", align_corners=True)


def pool_per_segment(features: Tensor, masks: Tensor) -> Tensor:
    """Mean feature of every segment (eq. 3): features B,d,h,w and masks B,c,h,w give B,c,d."""
    weights = masks.flatten(2)  # B,c,hw
    sums = torch.bmm(weights, features.float().flatten(2).transpose(1, 2))
    return sums / weights.sum(2, keepdim=True).clamp(min=VANISHED)


def compose(region_flow: Tensor, masks: Tensor) -> Tensor:
    """Segment flow (eq. 5): one vector per segment B,c,2 and masks B,c,h,w give a flow B,2,h,w."""
    flow = torch.bmm(region_flow.transpose(1, 2), masks.flatten(2))
    return flow.unflatten(2, masks.shape[-2:])
