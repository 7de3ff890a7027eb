"""The operations between the networks, plainly: cost volume, segment flow (eqs. 3 to 5), warping, occlusion."""

import torch
from torch import Tensor
from torch.nn import functional as F


def cost_volume(first: Tensor, second: Tensor) -> Tensor:
    """81 slices of means of products: B,C,h,w twice gives B,81,h,w."""
    height, width = first.shape[2:]
    padded = F.pad(second, (4, 4, 4, 4))
    slices = [(first * padded[:, :, y : y + height, x : x + width]).mean(1) for y in range(9) for x in range(9)]
    return torch.stack(slices, 1)


def pool_per_segment(features: Tensor, masks: Tensor) -> Tensor:
    """Mean feature of each segment, one after another: B,d,h,w and B,c,h,w give B,c,d."""
    means = []
    for segment in range(masks.shape[1]):
        mask = masks[:, segment : segment + 1]
        means.append((features * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1e-6))
    return torch.stack(means, 1)


def compose(region_flow: Tensor, masks: Tensor) -> Tensor:
    """Each segment's vector spread over its mask, and the sum: B,c,2 and B,c,h,w give B,2,h,w."""
    flow = torch.zeros_like(masks[:, :2])
    for segment in range(masks.shape[1]):
        flow = flow + region_flow[:, segment, :, None, None] * masks[:, segment : segment + 1]
    return flow


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample B,C,h,w at p + flow(p), the border repeated."""
    x, y = positions(flow)
    height, width = flow.shape[2:]
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), 3)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


@torch.no_grad()
def visibility(opposite_flow: Tensor) -> Tensor:
    """1 where at least a fifth of a pixel of the other frame lands, else 0: B,1,h,w."""
    x, y = positions(opposite_flow)
    batch, _, height, width = opposite_flow.shape
    arrived = torch.zeros(batch, height, width, device=opposite_flow.device)
    frame = torch.arange(batch, device=opposite_flow.device)[:, None, None].expand_as(x)
    for right in (0, 1):
        for below in (0, 1):
            column, row = x.floor() + right, y.floor() + below
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index = (frame[inside], row[inside].long(), column[inside].long())
            arrived.index_put_(index, share[inside], accumulate=True)
    return (arrived >= 0.2).float()[:, None]


def positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel looks: columns and rows, each B,h,w."""
    height, width = flow.shape[2:]
    columns = torch.arange(width, dtype=torch.float32, device=flow.device)
    rows = torch.arange(height, dtype=torch.float32, device=flow.device)[:, None]
    return flow[:, 0] + columns, flow[:, 1] + rows
