"""The view-synthesis objective (paper 3.4, eqs. 6 and 7): one frame of a pair predicted from the other.

Input: an AMDOutput and the pair it came from. Output: a scalar. Per level, with visibility v of the
target's pixels and its reconstruction by warping the other frame along the segment flow:
0.15 mean(|difference| v) + 0.85 mean(D_SSIM(images v)), over mean(v). The four finest levels are summed and the
two directions averaged. Everything here is float32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.models.amd import AMDOutput
from amd.models.warp import visibility, warp
from amd.training.distributed import mean_over_processes

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
        target, total = targets, targets.new_zeros(())
        for ahead, back in zip(forward, backward, strict=True):
            flow = torch.cat((ahead, back)).float()
            size = flow.shape[-2:]
            target = shrunk(target, size)
            source = torch.cat((target[batch:], target[:batch]))
            visible = F.interpolate(seen, size, mode="nearest")
            total = total + photometric(target, warp(source, flow), visible, batch)
        return total / 2


def shrunk(images: Tensor, size: torch.Size) -> Tensor:
    """Images B,C,H,W averaged to `size`; of an integer factor, which levels have, by the faster of two equal ways."""
    if images.shape[-2:] == size:
        return images
    down, across = images.shape[-2] // size[0], images.shape[-1] // size[1]
    if images.shape[-2:] == (down * size[0], across * size[1]):
        return F.avg_pool2d(images, (down, across))
    return F.interpolate(images, size, mode="area")


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


def ssim_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """(1 - SSIM) / 2 in [0, 1] over 3x3 windows without padding: B,C,H,W twice gives B,C,H-2,W-2.

    Only `predicted` has a gradient.
    """
    return _SSIMDistance.apply(predicted, target)


class _SSIMDistance(torch.autograd.Function):
    """One operation with its gradient written out, in place where it can be: its cost is the memory it touches.

    SSIM = luminance * contrast / (luminances * contrasts), of window means of p, t, p^2, t^2 and p t.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, predicted: Tensor, target: Tensor) -> Tensor:
        moments = predicted.new_empty(5, *predicted.shape)
        moments[0], moments[1] = predicted, target
        for moment, (a, b) in zip(moments[2:], ((predicted, predicted), (target, target), (predicted, target))):
            torch.mul(a, b, out=moment)
        mean_p, mean_t, square_p, square_t, product = window_mean(moments)
        both, squares = mean_p * mean_t, (mean_p * mean_p).addcmul_(mean_t, mean_t)
        contrast = product.sub_(both).mul_(2).add_(C2)
        contrasts = square_p.add_(square_t).sub_(squares).add_(C2)
        luminance, luminances = both.mul_(2).add_(C1), squares.add_(C1)
        similarity = (luminance / luminances).mul_(contrast).div_(contrasts)  # exactly 1 of equal windows
        ctx.save_for_backward(predicted, target, mean_p, mean_t, luminance, contrast, luminances, contrasts, similarity)
        return (1 - similarity).div_(2).clamp_(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        predicted, target, mean_p, mean_t, luminance, contrast, luminances, contrasts, similarity = ctx.saved_tensors
        to_moments = predicted.new_empty(3, *gradient.shape)
        to_mean, to_square, to_product = to_moments
        by_contrasts = (gradient * -0.5).div_(contrasts)
        torch.mul(by_contrasts, -similarity, out=to_square)
        by_both = by_contrasts.div_(luminances)
        torch.mul(by_both, luminance, out=to_product).mul_(2)
        torch.mul(gradient, similarity, out=to_mean).mul_(-0.5).div_(luminances).add_(to_square).mul_(mean_p).mul_(-2)
        to_mean.addcmul_((contrast - luminance).mul_(by_both), mean_t, value=2)
        to_mean, to_square, to_product = spread_windows(to_moments)
        return to_mean.addcmul_(predicted, to_square, value=2).addcmul_(target, to_product), None


def window_mean(x: Tensor) -> Tensor:
    """Means over 3x3 windows: ...,H,W gives ...,H-2,W-2."""
    rows = x[..., :-2, :] + x[..., 1:-1, :]
    rows += x[..., 2:, :]
    windows = rows[..., :-2] + rows[..., 1:-1]
    windows += rows[..., 2:]
    return windows.div_(9)


def spread_windows(x: Tensor) -> Tensor:
    """The transpose of `window_mean`: ...,H-2,W-2 gives ...,H,W."""
    return window_mean(F.pad(x, (2, 2, 2, 2)))
