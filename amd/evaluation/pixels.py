"""Features at foreground and background pixels.

Input: a benchmark and what gives features. Output: pixels of both sides.

The features are those of an AMD's backbone, of an ImageNet-style ResNet, or maps that were saved: a float array h,w,C
a frame, <sequence>/<frame>.npy. Pixels are drawn evenly from both sides of every frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from amd.config import Features
from amd.data.benchmarks.davis import BenchmarkFrame, Sequence
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image
from amd.models.amd import AMD
from amd.models.appearance import MEAN, STD
from amd.models.imagenet import is_imagenet_file, load_imagenet
from amd.models.inference import network_input
from amd.models.loading import open_as
from amd.models.precision import choose_device
from amd.runtime.errors import UserError
from amd.runtime.progress import progress
from amd.transfer.frame import to_grid

IMAGENET_STRIDE = 8
IMAGENET_SHORT_EDGE = 224

Extractor: TypeAlias = Callable[[Sequence, BenchmarkFrame], np.ndarray]  # features float32 h,w,C


@dataclass(frozen=True)
class Pixels:
    """Drawn pixels: their features, side and video."""

    features: np.ndarray  # N,C float32
    foreground: np.ndarray  # N bool
    videos: np.ndarray  # N, names
    frames: int


def collect_pixels(sequences: list[Sequence], extractor: Extractor, settings: Features) -> Pixels:
    """Up to `pixels` of either side of up to `frames` frames of every video; UserError when a side has none at all."""
    generator = np.random.default_rng(settings.seed)
    features, sides, videos, frames = [], [], [], 0
    for sequence in progress(sequences, "features", unit="sequences"):
        for frame in _spread(sequence.scored_frames, settings.frames):
            values, side = _frame_pixels(extractor(sequence, frame), read_truth(frame), settings.pixels, generator)
            features.append(values)
            sides.append(side)
            videos += [sequence.name] * len(side)
            frames += 1
    foreground = np.concatenate(sides) if sides else np.zeros(0, bool)
    if foreground.all() or not foreground.any():
        missing = "background" if foreground.any() else "foreground"
        raise UserError(
            f"{sequences[0].frames[0].image.parent}: no {missing} pixel in any annotated frame; nothing to tell"
        )
    return Pixels(np.concatenate(features), foreground, np.array(videos), frames)


def network_features(model: str) -> Extractor:
    """The backbone of an AMD (see amd.models.loading), or of a file with an ImageNet-style ResNet."""
    device = choose_device()
    if not model.startswith("models:/") and is_imagenet_file(model):
        backbone = load_imagenet(model, IMAGENET_STRIDE).to(device)
        network, short_edge = lambda images: backbone(_normalised(images)), IMAGENET_SHORT_EDGE
        return lambda sequence, frame: extract(network, read_image(frame.image), short_edge, device)
    amd, info = open_as(AMD, model, "auto")
    return backbone_features(amd, info.short_edge)


def backbone_features(model: AMD, short_edge: int | None) -> Extractor:
    """Features of the appearance pathway's backbone, of images resized as for segmenting."""
    device = next(model.parameters()).device
    return lambda sequence, frame: extract(model.appearance.features, read_image(frame.image), short_edge, device)


def saved_features(folder: Path) -> Extractor:
    """Maps float h,w,C that anything wrote as <sequence>/<frame>.npy; pickled objects in them are never run.

    UserError for a missing, damaged or misshapen file, and for maps of different depth.
    """
    depths: dict[int, Path] = {}

    def read(sequence: Sequence, frame: BenchmarkFrame) -> np.ndarray:
        path = folder / sequence.name / f"{frame.name}.npy"
        features = _read_map(path)
        first = next(iter(depths.values()), path)
        if depths.setdefault(features.shape[2], path) != first:
            raise UserError(f"{path}: {features.shape[2]} channels, but {first} has {next(iter(depths))}")
        return features

    return read


@torch.no_grad()
def extract(
    network: Callable[[Tensor], Tensor], image: np.ndarray, short_edge: int | None, device: torch.device | str
) -> np.ndarray:
    """Features float32 h,w,C of an image uint8 H,W,3 whose short edge is resized to `short_edge`."""
    pixels = network_input(torch.from_numpy(image).to(device), short_edge)
    return network(pixels)[0].permute(1, 2, 0).float().cpu().numpy()


def _read_map(path: Path) -> np.ndarray:
    """float32 h,w,C of a .npy file."""
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: this map of features is missing") from None
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not an array that is read ({reason}); write it with numpy.save") from None
    is_map = isinstance(values, np.ndarray) and values.ndim == 3 and values.dtype.kind == "f" and values.size
    if not is_map or values.shape[2] < 2:
        shape = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "an archive"
        raise UserError(f"{path}: {shape}; a map of features is float h,w,C, of two channels at least")
    if not np.isfinite(values).all():
        raise UserError(f"{path}: has values that are not finite; write the features again")
    return values.astype(np.float32)


def _normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _spread(frames: tuple[BenchmarkFrame, ...], count: int) -> list[BenchmarkFrame]:
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[place] for place in places]


def _frame_pixels(
    features: np.ndarray, truth: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drawn features n,C and their sides; a feature pixel is of the side that most of its area is."""
    cover = to_grid(truth, features.shape[:2]) > 0.5
    sides = [generator.permutation(np.flatnonzero(side))[:count] for side in (cover, ~cover)]
    places = np.concatenate(sides)
    return features.reshape(cover.size, -1)[places], cover.ravel()[places]
