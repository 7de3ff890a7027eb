"""What the benchmarks work on: networks with sane weights, and frame pairs that move.

Everything is made from seeds; nothing is downloaded and no real data is needed.
"""

import copy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from amd.config.profiles import load_profile
from amd.data.pairs.read import Batch
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from benchmarks.plain.network import PlainAMD

NETWORKS = {"ResNet-50": "paper", "quickstart": "quickstart"}  # and the profile that has it


def architecture(network: str, quick: bool = False) -> Architecture:
    """The architecture of a network by its name here; `quick` gives the small one at its smallest motion input."""
    found = Architecture(**load_profile(NETWORKS["quickstart" if quick else network]).model.model_dump())
    return replace(found, motion_height=64, motion_width=64) if quick else found


def sane_model(architecture: Architecture, edge: int = 128) -> AMD:
    """Random weights, in evaluation mode, with batch norm statistics that keep every layer's output in range."""
    torch.manual_seed(0)
    model = AMD(architecture)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    with torch.no_grad():
        model.train().segment(floats(pairs(2, edge))[0])
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model.eval()


def plain_twin(model: AMD) -> PlainAMD:
    """The plain network with the weights of `model`, on its device and in its mode."""
    twin = PlainAMD(model.architecture).to(next(model.parameters()).device)
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    return twin.train(model.training)


def pairs(number: int, edge: int) -> Batch:
    """Frame pairs uint8 number,edge,edge,3 of a smooth picture that moves by a few pixels."""
    rng = np.random.default_rng(0)
    first, second = [], []
    for _ in range(number):
        coarse = rng.integers(0, 256, (edge // 8 + 4, edge // 8 + 4, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
        y, x = rng.integers(0, 8, 2)
        first.append(picture[8 : 8 + edge, 8 : 8 + edge])
        second.append(picture[8 + y : 8 + y + edge, 8 + x : 8 + x + edge])
    return Batch(torch.from_numpy(np.stack(first)), torch.from_numpy(np.stack(second)), [str(n) for n in range(number)])


def floats(batch: Batch, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs as float32 B,3,H,W in [0, 1], in torch's default memory format."""
    convert = lambda frames: frames.to(device).permute(0, 3, 1, 2).contiguous().float() / 255
    return convert(batch.first), convert(batch.second)


def checkpoint(path: Path, model: AMD) -> Path:
    """A checkpoint of `model`, with an object segment."""
    save_checkpoint(path, model, ModelInfo(model.architecture, object_segment=0))
    return path
