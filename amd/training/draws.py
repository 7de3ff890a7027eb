"""What an iteration of adaptation sees: frames of a Clip, warped, cropped and mirrored with their evidence and flow.

Input: a Clip and numpy's generator. Output: an amd.objective.Batch. The two frames of a pair are
changed alike. Crops and mirroring are those of pretraining; random affine warps are for a network that sees one video
only: without them it learns each frame, with the errors of its evidence, by heart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from amd.config import Adapt
from amd.training.objective import Batch

IMAGE, EVIDENCE, FLOW, VALID = slice(0, 3), 3, slice(4, 6), 6  # channels of frames with what is known of them


@dataclass(frozen=True)
class Clip:
    """Frames of one video, the pairs of them that may be drawn, and what motion tells of them."""

    images: Tensor  # N,3,h,w uint8
    pairs: Tensor  # M,2 int64: numbers of first and second frames
    evidence: Tensor | None = None  # N,h,w: probability that a pixel moves on its own; any float type
    flow: Tensor | None = None  # M,2,2,h,w in pixels: of every pair, forward and backward; any float type


def draw(clip: Clip, settings: Adapt, rng: np.random.Generator, device: torch.device) -> Batch:
    """A batch of 2 * settings.batch_size frames: first frames, then their second ones.

    Frames are drawn one by one where no term of the objective looks at pairs.
    """
    wanted = settings.objective
    paired = wanted.needs_pairs or wanted.needs_flow
    if paired:
        rows = torch.from_numpy(rng.integers(0, len(clip.pairs), settings.batch_size))
        numbers = clip.pairs[rows].T.flatten()
    else:
        rows = None
        numbers = torch.from_numpy(rng.integers(0, len(clip.images), 2 * settings.batch_size))
    layers = _layers(clip, numbers, rows if wanted.needs_flow else None).to(device)
    copies = 2 if paired else 1
    if settings.affine:
        layers = affine(layers, random_matrices(len(layers) // copies, settings.affine, rng).repeat(copies, 1, 1))
    layers = _crop_and_mirror(layers, settings.crop, rng, copies)
    return Batch(
        images=layers[:, IMAGE].contiguous(memory_format=torch.channels_last),
        evidence=layers[:, EVIDENCE] if clip.evidence is not None else None,
        flow=layers[:, FLOW] if wanted.needs_flow else None,
        valid=layers[:, VALID, None] if wanted.needs_flow else None,
    )


def random_matrices(number: int, strength: float, rng: np.random.Generator) -> Tensor:
    """Affine maps B,2,3 of positions, where the frame runs from -1 to 1: turn, shear, scale and shift, all small."""
    return torch.eye(2, 3) + torch.from_numpy(rng.uniform(-strength, strength, (number, 2, 3)).astype(np.float32))


def affine(layers: Tensor, matrices: Tensor) -> Tensor:
    """Layers N,C,h,w sampled at the positions that `matrices` N,2,3 map each pixel to; the frame's mirror outside.

    Flow is turned along; outside of the frame it is not valid.
    """
    height, width = layers.shape[2:]
    matrices = matrices.to(layers.device)
    grid = F.affine_grid(matrices, list(layers.shape), align_corners=False)
    warped = F.grid_sample(layers, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if layers.shape[1] > VALID:
        half = torch.tensor((width / 2, height / 2), device=layers.device)
        in_pixels = matrices[:, :, :2] * half[:, None] / half
        turned = torch.linalg.solve(in_pixels, warped[:, FLOW].flatten(2))
        inside = (grid.abs() <= 1).all(3).float()
        warped[:, FLOW], warped[:, VALID] = turned.unflatten(2, (height, width)), warped[:, VALID] * inside
    return warped


def _layers(clip: Clip, numbers: Tensor, rows: Tensor | None) -> Tensor:
    """Images with evidence, and with the flow of the pairs `rows`, as channels: N,3, N,4 or N,7 of h,w."""
    images = clip.images[numbers].float() / 255
    parts = [images]
    if clip.evidence is not None or rows is not None:
        known = torch.zeros(()) if clip.evidence is None else clip.evidence[numbers].float()
        parts.append(known.expand(len(images), *images.shape[2:])[:, None])
    if rows is not None:
        if clip.flow is None:
            raise ValueError("the objective needs flow, and the clip has none")
        flow = clip.flow[rows].float().transpose(0, 1).flatten(0, 1)  # all forward, then all backward
        parts += [flow, torch.ones_like(flow[:, :1])]
    return torch.cat(parts, 1)


def _crop_and_mirror(layers: Tensor, crop: int | None, rng: np.random.Generator, copies: int) -> Tensor:
    """Each with a crop and a chance of being mirrored; the `copies` frames of a pair share theirs."""
    height, width = layers.shape[2:]
    down, across = (min(crop or edge, edge) for edge in (height, width))
    number = len(layers) // copies
    cut: list[Tensor] = [layers] * len(layers)
    for place in range(number):
        top, left = rng.integers(height - down + 1), rng.integers(width - across + 1)
        mirrored = rng.random() < 0.5
        for index in range(place, len(layers), number):
            part = layers[index, :, top : top + down, left : left + across]
            cut[index] = _mirror(part) if mirrored else part
    return torch.stack(cut)


def _mirror(layers: Tensor) -> Tensor:
    """Layers C,h,w mirrored left to right; flow then runs the other way."""
    mirrored = layers.flip(2)
    if len(layers) > VALID:
        mirrored[FLOW.start] = -mirrored[FLOW.start]
    return mirrored
