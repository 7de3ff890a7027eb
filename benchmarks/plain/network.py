"""AMD, plainly: masks of one frame, then segment flow of one direction, coarse to fine (paper 3.1 to 3.3).

Input: pairs B,3,H,W in [0, 1]. Output: the masks of both frames and the flows of both directions, finest first.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.amd import Architecture
from benchmarks.plain.backbones import BACKBONES
from benchmarks.plain.operations import compose, cost_volume, pool_per_segment, warp

PYRAMID = {"pwc": (3, 16, 32, 64, 96, 128, 192), "small": (3, 16, 24, 32, 48, 64, 96)}
REDUCED = {"pwc": 32, "small": 24}
ESTIMATOR = {"pwc": (128, 128, 96, 64, 32), "small": (64, 64, 48, 32, 24)}
HIDDEN = {"pwc": 64, "small": 48}


@dataclass
class PlainOutput:
    """Masks B,c,h,w and flows B,2,H/2^l,W/2^l of a pair."""

    masks_first: Tensor
    masks_second: Tensor
    forward_flows: list[Tensor]
    backward_flows: list[Tensor]


class PlainAMD(nn.Module):
    """Appearance-Motion Decomposition; loads the weights of an amd.models.amd.AMD of the same architecture."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.size = (architecture.motion_height, architecture.motion_width)
        self.appearance = Appearance(architecture)
        self.motion = Motion(architecture.motion)

    def forward(self, first: Tensor, second: Tensor) -> PlainOutput:
        masks_first, masks_second = self.segment(first), self.segment(second)
        features_first, features_second = self._features(first), self._features(second)
        return PlainOutput(
            masks_first,
            masks_second,
            self.motion(features_first, features_second, masks_second),
            self.motion(features_second, features_first, masks_first),
        )

    def segment(self, images: Tensor) -> Tensor:
        """Soft masks B,c,h,w."""
        return F.softmax(self.appearance(images), 1)

    def _features(self, images: Tensor) -> list[Tensor]:
        return self.motion.features(F.interpolate(images, self.size, mode="bilinear", align_corners=True))


class Appearance(nn.Module):
    """Backbone, two convolution blocks, classifier: images to logits."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone = BACKBONES[architecture.backbone]()
        inputs, hidden, dilation = self.backbone.channels, self.backbone.head_channels, self.backbone.head_dilation
        self.head = nn.Sequential(_block(inputs, hidden, dilation), _block(hidden, hidden, dilation))
        self.dropout = nn.Dropout2d(architecture.dropout)
        self.classifier = nn.Conv2d(hidden, architecture.segments, 1)
        self.register_buffer("mean", torch.tensor((123.675, 116.28, 103.53)).view(1, 3, 1, 1) / 255, persistent=False)
        self.register_buffer("std", torch.tensor((58.395, 57.12, 57.375)).view(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone((images - self.mean) / self.std)
        return self.classifier(self.dropout(self.head(features)))


def _block(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, 1, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Motion(nn.Module):
    """Feature pyramid, and region flow refined from coarse to fine."""

    def __init__(self, size: str) -> None:
        super().__init__()
        self.normalised = size == "small"
        self.pyramid = nn.ModuleList(
            nn.Sequential(_conv(inputs, outputs, stride=2), _conv(outputs, outputs))
            for inputs, outputs in pairwise(PYRAMID[size])
        )
        self.reduce = nn.ModuleList(_conv(channels, REDUCED[size], 1) for channels in PYRAMID[size][:1:-1])
        self.estimator = Estimator(size)

    def features(self, images: Tensor) -> list[Tensor]:
        """Features of one frame, coarse to fine."""
        x = (images - 0.45) / 0.25 if self.normalised else images
        levels = []
        for level in self.pyramid:
            x = level(x)
            levels.append(x)
        return levels[:0:-1]

    def forward(self, first: list[Tensor], second: list[Tensor], masks: Tensor) -> list[Tensor]:
        """Segment flow of one direction, upsampled four times, finest first; `masks` are the second frame's."""
        region, flows = masks.new_zeros(*masks.shape[:2], 2), []
        for x1, x2, reduce in zip(first, second, self.reduce, strict=True):
            level_masks = F.interpolate(masks, x1.shape[2:], mode="bilinear", align_corners=True)
            flow = _upsample(flows[-1], 2) if flows else torch.zeros_like(x1[:, :2])
            x2 = warp(x2, flow) if flows else x2
            costs = cost_volume(_standard(x1), _standard(x2)) if self.normalised else cost_volume(x1, x2)
            motion = self.estimator(torch.cat((F.leaky_relu(costs, 0.1), reduce(x1), flow), 1))
            pooled = pool_per_segment(motion, level_masks)  # B,c,d
            offsets = [self.estimator.readout(vector[:, :, None, None])[:, :, 0, 0] for vector in pooled.unbind(1)]
            region = 2 * region + torch.stack(offsets, 1)
            flows.append(compose(region, level_masks))
        return [_upsample(flow, 4) for flow in flows[::-1]]


class Estimator(nn.Module):
    """Cost volume, features and flow to motion features, and g, which reads a vector from them (eq. 4)."""

    def __init__(self, size: str) -> None:
        super().__init__()
        a, b, c, d, e = ESTIMATOR[size]
        self.conv1, self.conv2, self.conv3 = _conv(81 + REDUCED[size] + 2, a), _conv(a, b), _conv(a + b, c)
        self.conv4, self.conv5 = _conv(b + c, d), _conv(c + d, e)
        self.readout = nn.Sequential(_conv(d + e, HIDDEN[size], 1), nn.Conv2d(HIDDEN[size], 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.conv1(x)
        x2 = self.conv2(x1)
        x3 = self.conv3(torch.cat((x1, x2), 1))
        x4 = self.conv4(torch.cat((x2, x3), 1))
        return torch.cat((x4, self.conv5(torch.cat((x3, x4), 1))), 1)


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.LeakyReLU(0.1))


def _standard(features: Tensor) -> Tensor:
    variance, mean = torch.var_mean(features, (1, 2, 3), correction=0, keepdim=True)
    return (features - mean) / (variance + 1e-5).sqrt()


def _upsample(flow: Tensor, times: int) -> Tensor:
    return F.interpolate(flow * times, scale_factor=times, mode="bilinear", align_corners=True)
