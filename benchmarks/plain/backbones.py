"""The two backbones of the benchmarks, plainly: ResNet-50 at stride 8, and the quickstart's small network at stride 4.

Input: normalised images B,3,H,W. Output: features B,C,h,w.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride > 1 or inputs != 4 * width:
            shortcut = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50(nn.Module):
    """ResNet-50 with strides 1-2-1-1 and dilations 1-1-1-2 (paper 3)."""

    channels, head_channels, head_dilation = 2048, 256, 6

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 3, 1, 1)
        self.layer2 = _stage(256, 128, 4, 2, 1)
        self.layer3 = _stage(512, 256, 6, 1, 1)
        self.layer4 = _stage(1024, 512, 3, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(inputs: int, width: int, depth: int, stride: int, dilation: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride, dilation)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1, dilation) for _ in range(depth - 1)))


class HalvingBlock(nn.Module):
    """A residual block of stride 2 with an even kernel."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        x = _even(x)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(F.avg_pool2d(x, 2)))


class SmallNet(nn.Module):
    """Four residual stages, merged top-down to stride 4."""

    channels, head_channels, head_dilation = 64, 64, 2

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        widths = (32, 64, 96, 128)
        self.stages = nn.ModuleList(HalvingBlock(inputs, width) for inputs, width in pairwise((32, *widths)))
        self.lateral = nn.ModuleList(nn.Conv2d(width, 64, 1) for width in widths)

    def forward(self, images: Tensor) -> Tensor:
        x, levels = self.stem(_even(images)), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        merged = self.lateral[3](levels[3])
        for level in (2, 1, 0):
            finer = self.lateral[level](levels[level])
            merged = finer + F.interpolate(merged, finer.shape[2:], mode="bilinear", align_corners=False)
        return merged


def _even(x: Tensor) -> Tensor:
    return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")


BACKBONES = {"resnet50": ResNet50, "small": SmallNet}
