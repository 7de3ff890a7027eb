"""The motion pathway (paper 3.2, eq. 2; supplementary table 5): PWC-Net features and estimators.

Input: two images B,3,H,W in [0, 1] and the masks B,c,h,w of the image that is sampled. Output: segment flow
per pyramid level, region flow and dense flow. Coarse to fine from 1/64 to 1/4 of the input; at each level
the second image's features are warped by the segment flow so far, compared in a cost volume, and the
estimator's features are pooled per segment to correct every segment's vector.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.cost_volume import REACH, cost_volume
from amd.models.resnet import draw_weights, initialise
from amd.models.segment_flow import compose, pool_per_segment, resize_masks
from amd.models.warp import warp

UPSAMPLING = 4  # of the flows that leave


@dataclass(frozen=True)
class Widths:
    """Channels of the pathway."""

    pyramid: tuple[int, ...]  # from the image to 1/64
    reduced: int  # of the first image's features, at every level
    estimator: tuple[int, int, int, int, int]
    hidden: int  # of g
    normalised: bool  # images and the features that are compared; learns to match in far fewer steps


WIDTHS = {
    "pwc": Widths((3, 16, 32, 64, 96, 128, 192), 32, (128, 128, 96, 64, 32), 64, False),
    "small": Widths((3, 16, 24, 32, 48, 64, 96), 24, (64, 64, 48, 32, 24), 48, True),  # a third of the work
}


class LeakyConv(nn.Sequential):
    """Convolution and leaky ReLU 0.1, size kept but for the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2), nn.LeakyReLU(0.1, inplace=True))


class FlowEstimator(nn.Module):
    """Cost volume, features and flow so far (115 channels) to motion features V (96 channels), with g (eq. 4)."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        a, b, c, d, e = widths.estimator
        self.conv1 = LeakyConv((2 * REACH + 1) ** 2 + widths.reduced + 2, a)
        self.conv2 = LeakyConv(a, b)
        self.conv3 = LeakyConv(a + b, c)
        self.conv4 = LeakyConv(b + c, d)
        self.conv5 = LeakyConv(c + d, e)
        self.readout = nn.Sequential(LeakyConv(d + e, widths.hidden, 1), nn.Conv2d(widths.hidden, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.conv1(x)
        x2 = self.conv2(x1)
        x3 = self.conv3(torch.cat((x1, x2), 1))
        x4 = self.conv4(torch.cat((x2, x3), 1))
        x5 = self.conv5(torch.cat((x3, x4), 1))
        return torch.cat((x4, x5), 1)

    def read_flow(self, features: Tensor) -> Tensor:
        """g: motion features B,96,h,w to offsets B,2,h,w in pixels of the level."""
        return self.readout(features).float()


@dataclass
class MotionOutput:
    """Flows of one direction, upsampled 4 times, finest first; in pixels of their own level."""

    flows: list[Tensor]  # B,2,H/2^l,W/2^l
    region_flow: Tensor  # B,c,2 in pixels of the motion input
    dense_flows: list[Tensor]  # B,2,H/2^l,W/2^l, per pixel: g at every pixel, summed over levels; not trained


class MotionPathway(nn.Module):
    """Pyramid features of both images, then region flow from coarse to fine."""

    def __init__(self, size: str) -> None:
        super().__init__()
        widths = WIDTHS[size]
        self.normalised = widths.normalised
        self.pyramid = nn.ModuleList(
            nn.Sequential(LeakyConv(inputs, outputs, stride=2), LeakyConv(outputs, outputs))
            for inputs, outputs in pairwise(widths.pyramid)
        )
        self.reduce = nn.ModuleList(LeakyConv(channels, widths.reduced, 1) for channels in widths.pyramid[:1:-1])
        self.estimator = FlowEstimator(widths)
        initialise(self)
        draw_weights(cast(nn.Conv2d, self.estimator.readout[-1]), std=0.01)  # start near no motion

    def features(self, images: Tensor) -> list[Tensor]:
        """Features from coarse (1/64) to fine (1/4)."""
        levels = []
        if self.normalised:
            images = (images - 0.45) / 0.25
        for level in self.pyramid:
            images = level(images)
            levels.append(images)
        return levels[:0:-1]

    def forward(self, first: list[Tensor], second: list[Tensor], masks: Tensor) -> MotionOutput:
        """Flow from the first image's grid into the second image, whose masks B,c,h,w bind it."""
        region = masks.new_zeros(*masks.shape[:2], 2)
        flows: list[Tensor] = []
        dense_flows: list[Tensor] = []
        for x1, x2, reduce in zip(first, second, self.reduce, strict=True):
            level_masks = resize_masks(masks, x1.shape[-2:])
            flow = upsample(flows[-1], 2) if flows else masks.new_zeros(len(x1), 2, *x1.shape[-2:])
            x2 = warp(x2, flow).to(x1.dtype) if flows else x2
            costs = cost_volume(standardise(x1), standardise(x2)) if self.normalised else cost_volume(x1, x2)
            flow = flow.to(x1.dtype, memory_format=torch.channels_last)  # as the others, so that their union is it too
            motion = self.estimator(torch.cat((F.leaky_relu(costs, 0.1), reduce(x1), flow), 1))
            region = 2 * region + self._read_regions(motion, level_masks)
            flows.append(compose(region, level_masks))
            with torch.no_grad():
                dense = self.estimator.read_flow(motion)
                dense_flows.append(dense + upsample(dense_flows[-1], 2) if dense_flows else dense)
        return MotionOutput(
            flows=[upsample(flow, UPSAMPLING) for flow in flows[::-1]],
            region_flow=UPSAMPLING * region,
            dense_flows=[upsample(flow, UPSAMPLING) for flow in dense_flows[::-1]],
        )

    def _read_regions(self, motion: Tensor, masks: Tensor) -> Tensor:
        pooled = pool_per_segment(motion, masks)  # B,c,96
        return self.estimator.read_flow(pooled.transpose(1, 2).unsqueeze(3)).squeeze(3).transpose(1, 2)


def standardise(features: Tensor) -> Tensor:
    """Features of every image at mean 0 and deviation 1, so that products compare patterns and not brightness."""
    pixels = features.permute(0, 2, 3, 1)  # the memory's order: one fused pass
    return F.layer_norm(pixels, pixels.shape[1:]).permute(0, 3, 1, 2)


def upsample(flow: Tensor, times: int) -> Tensor:
    """A flow at `times` the size, its vectors scaled alike."""
    return F.interpolate(flow * times, scale_factor=times, mode="bilinear", align_corners=True)
