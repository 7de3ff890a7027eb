"""Sampling along a flow, and which pixels a flow leaves unseen. All in float32.

A flow is B,2,H,W in pixels, x then y; it says for each pixel of its grid where to look in the other image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

OCCLUDED_BELOW = 0.2  # of a pixel's weight arriving


def pixel_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Coordinates 1,2,H,W of every pixel, x then y."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack((x, y))[None]


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` B,C,H,W at p + flow(p) (eq. 6): bilinear, the border repeated outside."""
    height, width = flow.shape[-2:]
    at = pixel_grid(height, width, flow.device) + flow.float()
    size = torch.tensor((max(width - 1, 1), max(height - 1, 1)), device=flow.device).view(1, 2, 1, 1)
    grid = (2 * at / size - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="border", align_corners=True)


@torch.no_grad()
def visibility(opposite_flow: Tensor) -> Tensor:
    """1 where the other frame's pixels land, 0 where none does (occluded): B,1,H,W.

    Every pixel of the other frame is splatted bilinearly along its flow; a pixel that receives less
    than 0.2 of a pixel's weight is occluded.
    """
    batch, _, height, width = opposite_flow.shape
    at = pixel_grid(height, width, opposite_flow.device) + opposite_flow.float()
    # A wild flow must not overflow the integer index; two pixels outside is as far as infinity.
    x = at[:, 0].clamp(-2, width + 1)
    y = at[:, 1].clamp(-2, height + 1)
    left, top = x.floor(), y.floor()
    weight = torch.zeros(batch, height * width, device=x.device)
    for corner_x, share_x in ((left, left + 1 - x), (left + 1, x - left)):
        for corner_y, share_y in ((top, top + 1 - y), (top + 1, y - top)):
            inside = (corner_x >= 0) & (corner_x < width) & (corner_y >= 0) & (corner_y < height)
            index = corner_y.clamp(0, height - 1) * width + corner_x.clamp(0, width - 1)
            weight.scatter_add_(1, index.long().flatten(1), (share_x * share_y * inside).flatten(1))
    return (weight >= OCCLUDED_BELOW).float().view(batch, 1, height, width)
