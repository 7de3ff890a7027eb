"""Residual backbones for the appearance pathway: ResNet-18/34/50 with a chosen output stride, and a small one.

Input: images B,3,H,W, normalised. Output: features B,C,H/s,W/s for output stride s, a size rounded up.
A stride that would exceed s is dropped, and the stages after it are dilated by what was dropped before
them; at s = 8 these are the paper's strides 1-2-1-1 and dilations 1-1-1-2.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.unet import UNet

WIDTHS = (64, 128, 256, 512)
UNETS = {
    "unet": (16, 32, 48, 64),  # for one video: one with more learns the errors of its evidence by heart
    "unet_wide": (24, 48, 72, 96),  # for many videos
}
PATCH = 2


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)).add_(self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut (ResNet-50); the stride is in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)).add_(self.downsample(x)), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """The residual network of He et al. 2016 without its classifier."""

    head_channels = 256
    head_dilation = 6

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], output_stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        stages = zip(WIDTHS, depths, stage_strides(output_stride), strict=True)
        for number, (width, depth, (stride, dilation)) in enumerate(stages, 1):
            blocks = []
            for index in range(depth):
                blocks.append(block(inputs, width, stride if index == 0 else 1, dilation))
                inputs = width * block.expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.channels = inputs

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def stage_strides(output_stride: int) -> list[tuple[int, int]]:
    """Stride and dilation of the four stages that follow a stem of stride 4."""
    reached, dropped, plan = 4, 1, []
    for stride in (1, 2, 2, 2):
        kept = stride if reached * stride <= output_stride else 1
        plan.append((kept, dropped))
        reached *= kept
        dropped *= stride // kept
    return plan


class HalvingBlock(nn.Module):
    """A residual block that halves the size with even kernels, so that a cell lies amid the four it stands for.

    An odd kernel would centre cells on every second pixel, and levels that are resized onto each other would
    drift apart by half a cell.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 4, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_even(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)).add_(self.shortcut(F.avg_pool2d(x, 2))), inplace=True)


def pad_to_even(x: Tensor) -> Tensor:
    """The last row and column repeated where the size is odd."""
    height, width = x.shape[-2:]
    # A recorded network (amd.inference.export_model) must not remember whether the size it was recorded at was even.
    recorded = torch.jit.is_tracing() or torch.compiler.is_exporting()
    if recorded or height % 2 or width % 2:
        return F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    return x


class SmallNet(nn.Module):
    """A network for CPUs: four residual stages down to stride 32, merged top-down to the output stride.

    It sees the whole frame (as the dilated networks do) at a thirtieth of ResNet-50's cost.
    """

    head_channels = 64
    head_dilation = 2
    widths = (32, 64, 96, 128)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList(HalvingBlock(inputs, width) for inputs, width in pairwise((32, *self.widths)))
        self.lateral = nn.ModuleList(nn.Conv2d(width, 64, 1) for width in self.widths)
        self.channels = 64

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(pad_to_even(images))
        levels = []  # strides 4, 8, 16, 32
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        merged = self.lateral[-1](levels[-1])
        stride = 32
        for level, lateral in zip(levels[-2::-1], list(self.lateral)[-2::-1], strict=True):
            if stride == self.output_stride:
                break
            finer = lateral(level)
            merged = finer + F.interpolate(merged, finer.shape[-2:], mode="bilinear", align_corners=False)
            stride //= 2
        return merged


class FullSizeNet(nn.Module):
    """A U-Net on patches of pixels that gives features at the image's own size: small objects have sharp borders.

    A patch of PATCH x PATCH pixels is one position with all their colours, and gives the features of all of them: the
    borders of the full size at the cost of the smaller one.
    """

    head_channels = channels = 16
    head_dilation = None  # its own last blocks are the head

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.unet = UNet(3 * PATCH**2, widths, self.channels * PATCH**2)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % PATCH, 0, -height % PATCH), mode="replicate")
        patches = F.pixel_unshuffle(padded, PATCH).contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(F.relu(self.unet(patches)), PATCH)[:, :, :height, :width]


def make_backbone(name: str, output_stride: int) -> ResNet | SmallNet | FullSizeNet:
    """A backbone by its name in params.yaml; it has `channels`, `head_channels` and `head_dilation` (None: no head)."""
    if name in UNETS:
        return FullSizeNet(UNETS[name])
    if name == "small":
        return SmallNet(output_stride)
    networks: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
        "resnet18": (BasicBlock, (2, 2, 2, 2)),
        "resnet34": (BasicBlock, (3, 4, 6, 3)),
        "resnet50": (Bottleneck, (3, 4, 6, 3)),
    }
    block, depths = networks[name]
    return ResNet(block, depths, output_stride)


def initialise(module: nn.Module) -> None:
    """He initialisation of every convolution, seeded by torch's global generator."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            draw_weights(layer)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            torch.nn.init.zeros_(layer.bias)


def draw_weights(layer: nn.Conv2d, std: float | None = None) -> None:
    """Normal weights of standard deviation `std`, else He's.

    None on the device meta, where torch would import its compiler to draw no number, in more than a second.
    """
    if layer.weight.is_meta:
        return
    if std is None:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=std)
