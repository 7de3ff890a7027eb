"""Random changes of the frames that pretraining from evidence sees, so that videos are not learned by heart.

Input: images with their evidence, numpy's generator. Output: as many of both: warped, under other light, and with
objects of other videos before them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from amd.training.draws import EVIDENCE, IMAGE, affine, random_matrices

GREY = 0.1  # of the frames that are recoloured
PASTED_FROM, PASTED_WHOLE = 0.3, 0.7  # evidence from which on a pixel is pasted a little, and wholly


@dataclass(frozen=True)
class Changes:
    """How strong random changes are; 0 is none. See amd.config.Pretrain."""

    affine: float = 0.0
    colour: float = 0.0
    paste: float = 0.0  # share of images

    def __bool__(self) -> bool:
        return bool(self.affine or self.colour or self.paste)


def change(
    images: Tensor, evidence: Tensor | None, changes: Changes, rng: np.random.Generator, copies: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Images N,3,h,w in [0, 1] and evidence N,h,w, changed.

    With 2 `copies` the second half are the second frames of the first half's pairs: they are changed alike, and nothing
    is pasted.
    """
    number = len(images) // copies
    if changes.affine:
        layers = images if evidence is None else torch.cat((images, evidence[:, None]), 1)
        layers = affine(layers, random_matrices(number, changes.affine, rng).repeat(copies, 1, 1))
        images = layers[:, IMAGE].contiguous(memory_format=torch.channels_last)
        evidence = None if evidence is None else layers[:, EVIDENCE]
    if changes.paste and evidence is not None and copies == 1:
        chosen = torch.from_numpy(rng.random(number) < changes.paste).to(images.device)
        images, evidence = paste(images, evidence, chosen)
    if changes.colour:
        images = recolour(images, random_light(number, changes.colour, rng).repeat(copies, 1))
    return images, evidence


def random_light(number: int, strength: float, rng: np.random.Generator) -> Tensor:
    """Factors N,6 of brightness, contrast, saturation, red, green and blue; one image in ten is grey.

    Their logarithms are normal with `strength` as the deviation; of the three colours with a third of it.
    """
    spread = strength * np.array([1, 1, 1, 1 / 3, 1 / 3, 1 / 3])
    factors = np.exp(rng.normal(0, spread, (number, 6)))
    factors[rng.random(number) < GREY, 2] = 0
    return torch.from_numpy(factors.astype(np.float32))


def recolour(images: Tensor, light: Tensor) -> Tensor:
    """Images N,3,h,w in [0, 1] under other light (random_light): a network is not to know a video by its colours."""
    light = light.to(images.device)[:, :, None, None]
    changed = images * light[:, :1] * light[:, 3:]
    mean = changed.mean((1, 2, 3), keepdim=True)
    changed = mean + (changed - mean) * light[:, 1:2]
    grey = changed.mean(1, keepdim=True)
    return (grey + (changed - grey) * light[:, 2:3]).clamp(0, 1)


def paste(images: Tensor, evidence: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """What moves in the image before put into each of images N,3,h,w where `chosen` N; with evidence N,h,w likewise.

    An object then stands before scenes of other videos: a network is not to know it by what is around it.
    """
    moves = evidence.roll(1, 0) * chosen[:, None, None]
    cover = ((moves - PASTED_FROM) / (PASTED_WHOLE - PASTED_FROM)).clamp(0, 1)
    images = images + cover[:, None] * (images.roll(1, 0) - images)
    return images, torch.maximum(moves * (cover > 0), evidence * (1 - cover))
