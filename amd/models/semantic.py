"""Semantic segmentation with the appearance pathway (paper 4.4): the network, and what travels with its weights.

The network is the appearance pathway with a channel per class in place of the segments. It starts from scratch, from
an AMD (backbone and both convolution blocks) or from an ImageNet-style state dict (backbone); the classifier always
starts anew (amd.models.loading.start_backbone).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from amd.models.appearance import AppearancePathway
from amd.models.checkpoint import STRICT, ShortEdge

SCRATCH = "scratch"


@dataclass(frozen=True)
class SemanticArchitecture:
    """What a model's weights must agree with."""

    __pydantic_config__ = STRICT
    backbone: str
    output_stride: int
    dropout: float
    classes: tuple[str, ...]  # by channel, background first


@dataclass(frozen=True)
class SemanticInfo:
    """What travels with the weights."""

    __pydantic_config__ = STRICT
    format: ClassVar = "amd-semantic-1"
    kind: ClassVar = "a model fine-tuned for semantic segmentation (`amd semantic`)"
    architecture: SemanticArchitecture
    short_edge: ShortEdge  # images are resized to this
    start: str = SCRATCH
    augmentation: str = "light"
    seed: int = 0
    images: int = 0  # that it was trained on
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


class SemanticNetwork(AppearancePathway):
    """Images B,3,H,W in [0, 1] to class logits B,n,h,w; `segment` gives probabilities, as an AMD gives masks."""

    bfloat16: bool = False  # type: ignore[assignment]  # as of an AMD

    def __init__(self, architecture: SemanticArchitecture) -> None:
        classes = len(architecture.classes)
        super().__init__(architecture.backbone, classes, architecture.output_stride, architecture.dropout)
        self.architecture = architecture
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it

    def segment(self, images: Tensor) -> Tensor:
        """Class probabilities B,n,h,w."""
        return self.masks(images)
