"""Which segment is the object, without labels (paper 3.5 and figure 3).

Input: AMD and training pairs. Output: a row of statistics per segment, and the object segment: the one with the
largest mean segment motion. Motion is the length of a segment's flow in pixels of the motion input, averaged with
the segment's area as weight, so that an all but empty segment has no say where it is absent. The other
statistics of the figure (entropy, reconstruction error, centre) stand beside it.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.models.amd import AMD, AMDOutput
from amd.models.segment_flow import VANISHED, resize_masks
from amd.models.warp import pixel_grid, warp
from amd.training.losses import ssim_distance

SMALLEST_AREA = 0.01  # of the frame; a segment below is no candidate

# What the object has most of: paper 3.5 names the motion, figure 3 the others.
CRITERIA: dict[str, Callable[[dict[str, float]], float]] = {
    "motion": lambda row: row["motion"],
    "entropy": lambda row: -row["entropy"],
    "reconstruction_error": lambda row: row["reconstruction_error"],
    "centre": lambda row: -math.hypot(row["centre_x"] - 0.5, row["centre_y"] - 0.5),
}


@torch.no_grad()
def segment_statistics(model: AMD, pairs: Iterable[tuple[Tensor, Tensor]]) -> list[dict[str, float]]:
    """Rows of amd.data.tables.SEGMENTS over pairs of images B,3,H,W in [0, 1]; both frames of a pair count."""
    model.eval()
    sums: dict[str, Tensor] = {}
    for first, second in pairs:
        for name, values in _pair_sums(model(first, second), model, first, second).items():
            sums[name] = sums.get(name, 0) + values.double()
    frames = sums.pop("frames")
    area = sums["area"].clamp(min=VANISHED)
    means = {
        "motion": sums["motion"] / area,
        "area": sums["area"] / frames,
        "entropy": sums["entropy"] / frames,
        "reconstruction_error": sums["reconstruction_error"] / area,
        "centre_x": sums["centre_x"] / area,
        "centre_y": sums["centre_y"] / area,
        "spread": sums["spread"] / area,
    }
    squares = sums["centre_square"] / area - means["centre_x"] ** 2 - means["centre_y"] ** 2
    means["centre_deviation"] = squares.clamp(min=0).sqrt()
    columns = {name: values.tolist() for name, values in means.items()}
    return [
        {"segment": m, **{name: values[m] for name, values in columns.items()}, "frames": int(frames)}
        for m in range(len(area))
    ]


def choose_object(statistics: list[dict[str, float]]) -> int:
    """The segment with the largest mean motion among those that are not all but empty."""
    return choices(statistics)["motion"]


def choices(statistics: list[dict[str, float]]) -> dict[str, int]:
    """The segment that each label-free criterion would take, by name; of CRITERIA, motion is the one that counts."""
    candidates = [row for row in statistics if row["area"] >= SMALLEST_AREA] or statistics
    return {name: int(max(candidates, key=merit)["segment"]) for name, merit in CRITERIA.items()}


def _pair_sums(output: AMDOutput, model: AMD, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Sums over the frames of a batch, per segment; all but area and entropy weighted by the area."""
    masks = torch.cat((output.masks_first, output.masks_second))  # 2B,c,h,w
    area = masks.mean((2, 3))
    # A segment's flow is composed of the masks of the frame that is sampled: forward of the second.
    motion = torch.cat((output.backward_region_flow, output.forward_region_flow)).norm(dim=2)
    x, y, spread = _place(masks)
    return {
        "frames": torch.tensor(float(len(masks))),
        "area": area.sum(0),
        "motion": (area * motion).sum(0),
        "entropy": _binary_entropy(masks).mean((2, 3)).sum(0),
        "reconstruction_error": (area * _reconstruction_errors(output, model, first, second)).sum(0),
        "centre_x": (area * x).sum(0),
        "centre_y": (area * y).sum(0),
        "centre_square": (area * (x * x + y * y)).double().sum(0),
        "spread": (area * spread).sum(0),
    }


def _binary_entropy(masks: Tensor) -> Tensor:
    p = masks.clamp(1e-7, 1 - 1e-7)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def _place(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre x and y in [0, 1] and standard deviation around it (share of the frame) of masks B,c,h,w."""
    height, width = masks.shape[2:]
    grid = pixel_grid(height, width, masks.device)[0] + 0.5
    x, y = grid[0] / width, grid[1] / height
    mean = lambda values: (masks * values).sum((2, 3)) / masks.sum((2, 3)).clamp(min=VANISHED)
    centre_x, centre_y = mean(x), mean(y)
    variance = mean(x * x) - centre_x**2 + mean(y * y) - centre_y**2
    return centre_x, centre_y, variance.clamp(min=0).sqrt()


def _reconstruction_errors(output: AMDOutput, model: AMD, first: Tensor, second: Tensor) -> Tensor:
    """Mean D_SSIM under every mask of the frame that is predicted: 2B,c."""
    target = model.motion_input(torch.cat((first, second)))
    source = model.motion_input(torch.cat((second, first)))
    flow = torch.cat((output.forward_flows[0], output.backward_flows[0]))
    distance = F.pad(ssim_distance(warp(source, flow), target).mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    masks = resize_masks(torch.cat((output.masks_first, output.masks_second)), distance.shape[2:])
    return (masks * distance).sum((2, 3)) / masks.sum((2, 3)).clamp(min=VANISHED)
