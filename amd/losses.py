"""The view-synthesis objective (paper 3.4, eqs. 6 and 7): one frame of a pair predicted from the other.

Enters: an AMDOutput and the pair it came from. Leaves: a scalar. Per level, with visibility v of the
target's pixels and its reconstruction by warping the other frame along the segment flow:
0.15 mean(|difference| v) + 0.85 mean(D_SSIM(images v)), over mean(v). The four finest levels are summed and the
two directions averaged. Everything here is float32.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.distributed import mean_over_processes
from amd.model.amd import AMDOutput
from amd.model.warp import visibility, warp

L1_WEIGHT = 0.15
SSIM_WEIGHT = 0.85
LEVELS = 4  # the finest ones
C1, C2 = 0.01**2, 0.03**2


def view_synthesis_loss(output: AMDOutput, first: Tensor, second: Tensor) -> Tensor:
    """The training loss of pairs `first`, `second` B,3,H,W in [0, 1], a scalar."""
    return flow_loss(output.forward_flows[:LEVELS], output.backward_flows[:LEVELS], first, second)


def flow_loss(forward: list[Tensor], backward: list[Tensor], first: Tensor, second: Tensor) -> Tensor:
    """The objective for any flows of both directions, finest first, in pixels of their level."""
    with torch.autocast(first.device.type, enabled=False):
        batch = len(first)
        targets = F.interpolate(
            torch.cat((first, second)).float(), forward[0].shape[-2:], mode="bilinear", align_corners=True
        )
        seen = torch.cat((visibility(backward[0]), visibility(forward[0])))
        total = targets.new_zeros(())
        for ahead, back in zip(forward, backward, strict=True):
            flow = torch.cat((ahead, back)).float()
            size = flow.shape[-2:]
            target = F.interpolate(targets, size, mode="area")
            source = torch.cat((target[batch:], target[:batch]))
            visible = F.interpolate(seen, size, mode="nearest")
            total = total + photometric(target, warp(source, flow), visible, batch)
        return total / 2


def photometric(target: Tensor, predicted: Tensor, visible: Tensor, batch: int) -> Tensor:
    """Both directions' distance D, summed: images 2B,3,h,w (forward, then backward), visibility 2B,1,h,w.

    Each direction is divided by its visible share in the whole batch, over all processes, so that several
    processes train as one; when nothing is visible the distance is 0, with zero gradient.
    """
    difference = (target - predicted).abs() * visible
    dissimilarity = ssim_distance(predicted * visible, target * visible)
    total = target.new_zeros(())
    for part in (slice(0, batch), slice(batch, None)):
        distance = L1_WEIGHT * difference[part].mean() + SSIM_WEIGHT * dissimilarity[part].mean()
        total = total + distance / mean_over_processes(visible[part].mean()).clamp(min=1e-6)
    return total


def ssim_distance(first: Tensor, second: Tensor) -> Tensor:
    """(1 - SSIM) / 2 in [0, 1] over 3x3 windows without padding: B,C,H,W twice gives B,C,H-2,W-2."""
    mean_first, mean_second = F.avg_pool2d(first, 3, 1), F.avg_pool2d(second, 3, 1)
    variance_first = F.avg_pool2d(first * first, 3, 1) - mean_first**2
    variance_second = F.avg_pool2d(second * second, 3, 1) - mean_second**2
    covariance = F.avg_pool2d(first * second, 3, 1) - mean_first * mean_second
    numerator = (2 * mean_first * mean_second + C1) * (2 * covariance + C2)
    denominator = (mean_first**2 + mean_second**2 + C1) * (variance_first + variance_second + C2)
    return ((1 - numerator / denominator) / 2).clamp(0, 1)
