"""The cost volume of PWC-Net: how well each pixel of one frame matches its neighbourhood in the other.

Written as one differentiable operation on matrix products: a row of the first frame is cut into tiles, and each
tile is multiplied with the nine rows of windows around it; the wanted displacements are a band of the product.
The band wastes two thirds of the arithmetic and is still several times faster than 81 slices, whose memory
traffic is the bound.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 4  # pixels in each direction: 9x9 displacements
SIDE = 2 * REACH + 1
TILE = 16


def cost_volume(first: Tensor, second: Tensor) -> Tensor:
    """Mean over channels of products at 9x9 displacements: B,C,h,w twice gives B,81,h,w.

    Channel 9 (y + 4) + (x + 4) compares p in `first` with p + (x, y) in `second`; outside is zero.
    """
    return _CostVolume.apply(first, second)


class _CostVolume(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        width = first.shape[-1]
        tiles, windows = _tiles(first), _windows(second)
        products = tiles @ windows.transpose(3, 4)  # B,h,n,t,9(t+8)
        costs = _band(products).flatten(4)  # B,h,n,t,81
        costs = costs.flatten(2, 3)[:, :, :width] / first.shape[1]
        return costs.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        first, second = ctx.saved_tensors
        channels, width = first.shape[1], first.shape[-1]
        tiles, windows = _tiles(first), _windows(second)
        to_products = gradient.new_zeros(*tiles.shape[:4], windows.shape[3])
        weights = _tiles(gradient / channels)  # B,h,n,t,81
        _band(to_products).copy_(weights.unflatten(4, (SIDE, SIDE)))
        to_first = (to_products @ windows).flatten(2, 3)[:, :, :width]
        to_windows = to_products.transpose(3, 4) @ tiles  # B,h,n,9(t+8),C
        return to_first.permute(0, 3, 1, 2), _add_windows(to_windows, width)


def _tile(width: int) -> tuple[int, int]:
    """Width of a tile and the number of tiles in a row."""
    tile = min(TILE, width)
    return tile, -(-width // tile)


def _tiles(x: Tensor) -> Tensor:
    """B,C,h,w to rows cut into tiles: B,h,n,t,C, filled with zeros at the right."""
    width = x.shape[-1]
    tile, count = _tile(width)
    rows = F.pad(x, (0, tile * count - width)).permute(0, 2, 3, 1)
    return rows.unflatten(2, (count, tile))


def _windows(x: Tensor) -> Tensor:
    """B,C,h,w to what each tile can reach: B,h,n,9(t+8),C."""
    width = x.shape[-1]
    tile, count = _tile(width)
    padded = F.pad(x, (REACH, REACH + tile * count - width, REACH, REACH)).permute(0, 2, 3, 1).contiguous()
    rows = padded.unfold(1, SIDE, 1).unfold(2, tile + SIDE - 1, tile)  # B,h,n,C,9,t+8
    return rows.permute(0, 1, 2, 4, 5, 3).flatten(3, 4)


def _add_windows(windows: Tensor, width: int) -> Tensor:
    """The transpose of `_windows`: every window added where it was read, B,C,h,w."""
    batch, height, count, _, channels = windows.shape
    tile, _ = _tile(width)
    reach = tile + SIDE - 1
    windows = windows.unflatten(3, (SIDE, reach))
    padded = windows.new_zeros(batch, height + SIDE - 1, tile * count + SIDE - 1, channels)
    for y in range(SIDE):
        for n in range(count):
            padded[:, y : y + height, n * tile : n * tile + reach] += windows[:, :, n, y]
    return padded[:, REACH : REACH + height, REACH : REACH + width].permute(0, 3, 1, 2)


def _band(products: Tensor) -> Tensor:
    """A view of products B,h,n,t,9(t+8) at the displacements in reach: B,h,n,t,9,9."""
    tile = products.shape[3]
    reach = tile + SIDE - 1
    strides = products.stride()
    # Pixel i of a tile meets columns i to i + 8 of each of the nine rows.
    return products.as_strided((*products.shape[:4], SIDE, SIDE), (*strides[:3], strides[3] + 1, reach, 1))
