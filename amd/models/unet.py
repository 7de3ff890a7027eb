"""A small U-Net (Ronneberger et al., 2015) for maps of any size: the network of motion evidence and of appearance."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """From B,inputs,H,W to B,outputs,H,W, without a final activation.

    Each of `widths` is the number of channels of a level; the first works at H,W, each further one at half the size of
    the one before (rounded up). With `global_mean` the deepest level also sees the mean of its map over the image, so
    that a decision at one pixel can depend on all of the frame.
    """

    def __init__(self, inputs: int, widths: Sequence[int], outputs: int = 1, global_mean: bool = True) -> None:
        super().__init__()
        befores = [inputs, *widths[:-1]]
        self.down = nn.ModuleList(_block(before, width) for before, width in zip(befores, widths, strict=True))
        self.mean = nn.Linear(widths[-1], widths[-1]) if global_mean else None
        self.up = nn.ModuleList(
            _block(deep + width, width) for deep, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        levels: list[Tensor] = []
        for block in self.down:
            maps = block(F.max_pool2d(maps, 2, ceil_mode=True) if levels else maps)
            levels.append(maps)
        if self.mean is not None:
            maps = maps + self.mean(maps.mean(dim=(2, 3)))[:, :, None, None]
        for block, level in zip(self.up, levels[-2::-1], strict=True):
            enlarged = F.interpolate(maps, size=level.shape[2:], mode="bilinear", align_corners=False)
            maps = block(torch.cat([enlarged, level], dim=1))
        return self.head(maps)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
