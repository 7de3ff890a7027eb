"""The view-synthesis loss (paper 3.4, eqs. 6 and 7), plainly: each direction and each level on its own."""

from torch import Tensor
from torch.nn import functional as F

from benchmarks.plain.operations import visibility, warp


def view_synthesis_loss(forward: list[Tensor], backward: list[Tensor], first: Tensor, second: Tensor) -> Tensor:
    """The loss of flows of both directions, finest first, four levels or more, for images B,3,H,W in [0, 1]."""
    size = forward[0].shape[2:]
    first, second = (F.interpolate(image, size, mode="bilinear", align_corners=True) for image in (first, second))
    ahead = one_direction(forward[:4], visibility(backward[0]), first, second)
    return (ahead + one_direction(backward[:4], visibility(forward[0]), second, first)) / 2


def one_direction(flows: list[Tensor], visible: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """`target` predicted from `source`, summed over levels, each over its visible share."""
    total = target.new_zeros(())
    for flow in flows:
        size = flow.shape[2:]
        small_target, small_source = (F.interpolate(image, size, mode="area") for image in (target, source))
        seen = F.interpolate(visible, size, mode="nearest")
        predicted = warp(small_source, flow)
        difference = ((small_target - predicted).abs() * seen).mean()
        dissimilarity = ssim_distance(predicted * seen, small_target * seen).mean()
        total = total + (0.15 * difference + 0.85 * dissimilarity) / seen.mean().clamp(min=1e-6)
    return total


def ssim_distance(first: Tensor, second: Tensor) -> Tensor:
    """(1 - SSIM) / 2 over 3x3 windows: B,C,h,w twice gives B,C,h-2,w-2."""
    mean = lambda x: F.avg_pool2d(x, 3, 1)
    variance_first = mean(first**2) - mean(first) ** 2
    variance_second = mean(second**2) - mean(second) ** 2
    covariance = mean(first * second) - mean(first) * mean(second)
    alike = (2 * mean(first) * mean(second) + 0.01**2) * (2 * covariance + 0.03**2)
    unlike = (mean(first) ** 2 + mean(second) ** 2 + 0.01**2) * (variance_first + variance_second + 0.03**2)
    return ((1 - alike / unlike) / 2).clamp(0, 1)
