"""Semantic segmentation with the appearance pathway (paper 4.4): the network, what it starts from, and its file.

The network is the appearance pathway with a channel per class in place of the segments. It starts from scratch, from
an AMD (backbone and both convolution blocks) or from an ImageNet-style state dict (backbone); the classifier always
starts anew. A model is one safetensors file with its metadata; nothing pickled is ever run.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amd.models.appearance import AppearancePathway
from amd.models.checkpoint import SEMANTIC_FORMAT, fill, read_file, save_tensors
from amd.models.imagenet import is_imagenet_file, load_imagenet
from amd.models.loading import resolve_model
from amd.runtime.errors import UserError

SCRATCH = "scratch"


@dataclass(frozen=True)
class SemanticArchitecture:
    """What a model's weights must agree with."""

    backbone: str
    output_stride: int
    dropout: float
    classes: tuple[str, ...]  # by channel, background first


@dataclass(frozen=True)
class SemanticInfo:
    """What travels with the weights."""

    architecture: SemanticArchitecture
    short_edge: int  # images are resized to this
    start: str = SCRATCH
    augmentation: str = "light"
    seed: int = 0
    images: int = 0  # that it was trained on
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


class SemanticNetwork(AppearancePathway):
    """Images B,3,H,W in [0, 1] to class logits B,n,h,w; `segment` gives probabilities, as an AMD gives masks."""

    bfloat16 = False  # as of an AMD

    def __init__(self, architecture: SemanticArchitecture) -> None:
        classes = len(architecture.classes)
        super().__init__(architecture.backbone, classes, architecture.output_stride, architecture.dropout)
        self.architecture = architecture
        self.to(memory_format=torch.channels_last)

    def segment(self, images: Tensor) -> Tensor:
        """Class probabilities B,n,h,w."""
        return self.masks(images)


def start_from(network: SemanticNetwork, weights: Path | str) -> None:
    """Copy into `network` what a file holds for it: an AMD's backbone and blocks, or a ResNet's backbone.

    Raises UserError for a file that is neither, and for another backbone than the network's.
    """
    if is_imagenet_file(weights):
        parts = [(load_imagenet(weights, network.architecture.output_stride), network.backbone)]
    else:
        appearance = resolve_model(str(weights))[0].appearance
        parts = [(appearance.backbone, network.backbone), (appearance.head, network.head)]
    for source, target in parts:
        _copy(source, target, network.architecture.backbone, weights)


def save_semantic(path: Path | str, network: SemanticNetwork, info: SemanticInfo) -> None:
    """Write weights and metadata atomically."""
    metadata = {"format": SEMANTIC_FORMAT, "info": json.dumps(asdict(info), sort_keys=True)}
    save_tensors(path, network.state_dict(), metadata)


def load_semantic(path: Path | str) -> tuple[SemanticNetwork, SemanticInfo]:
    """Read a model in evaluation mode; UserError when it is missing, damaged, or a file of another kind."""
    tensors, fields = read_file(path, SEMANTIC_FORMAT)
    try:
        architecture = dict(fields.pop("architecture"))
        architecture["classes"] = tuple(architecture["classes"])
        info = SemanticInfo(SemanticArchitecture(**architecture), **fields)
        network = SemanticNetwork(info.architecture)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged metadata ({error})") from None
    fill(network, tensors, path)
    return network.eval(), info


def _copy(source: nn.Module, target: nn.Module, backbone: str, weights: Path | str) -> None:
    try:
        target.load_state_dict(source.state_dict())
    except RuntimeError:  # other layers, or other shapes
        raise UserError(f"{weights}: its backbone is not a {backbone}; set model.backbone to the file's") from None
