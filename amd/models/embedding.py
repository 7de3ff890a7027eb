"""The instance embedding network (section 3.1): one image to an embedding and a class per pixel.

Input: images B,3,H,W in [0, 1]. Output: embeddings B,64,h,w, in which pixels of one instance are near, and class
logits B,1+classes,h,w, background first; h and w are H and W over the output stride. One dilated residual body, two
heads. Torch alone, so that a registered model carries it along.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.appearance import MEAN, STD, ConvBlock
from amd.models.checkpoint import STRICT, ShortEdge
from amd.models.inference import network_input
from amd.models.resnet import draw_weights, initialise, make_backbone

CHANNELS = 64  # of an embedding (4.2)


@dataclass(frozen=True)
class EmbeddingArchitecture:
    """What a checkpoint must agree with; `classes` are the names that the semantic head knows, from 1."""

    __pydantic_config__ = STRICT
    backbone: str
    output_stride: int
    dropout: float
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a checkpoint's metadata."""
        return asdict(self)


class EmbeddingNetwork(nn.Module):
    """`EmbeddingNetwork(images)` gives (embedding, class logits), both float32 at the output stride."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: EmbeddingArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = make_backbone(architecture.backbone, architecture.output_stride)
        self.embedding = self._head(CHANNELS)
        self.semantic = self._head(1 + len(architecture.classes))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        initialise(self)
        # Starts with all pixels near, where eq. 1 has a slope.
        draw_weights(cast(nn.Conv2d, self.embedding[-1]), std=0.01)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it

    def _head(self, outputs: int) -> nn.Sequential:
        hidden, dilation = self.backbone.head_channels, cast(int, self.backbone.head_dilation)
        return nn.Sequential(
            ConvBlock(self.backbone.channels, hidden, dilation),
            ConvBlock(hidden, hidden, dilation),
            nn.Dropout2d(self.architecture.dropout),
            nn.Conv2d(hidden, outputs, 1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        normalised = (images - self.mean) / self.std
        features = self.backbone(normalised.contiguous(memory_format=torch.channels_last))
        return self.embedding(features).float(), self.semantic(features).float()


def objectness(logits: Tensor) -> Tensor:
    """Eq. 3: one minus the probability of background, B,h,w in [0, 1], of class logits B,1+classes,h,w."""
    return 1 - F.softmax(logits, dim=1)[:, 0]


def embed(
    network: EmbeddingNetwork, images: Iterable[np.ndarray], short_edge: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Embedding h,w,64 and objectness h,w of every image, one at a time.

    An image is resized (antialiased bilinear) so that its short edge is `short_edge`; None keeps its size.
    """
    for image in images:
        embedding, objects = embed_image(network, image, short_edge)
        yield np.ascontiguousarray(embedding.permute(1, 2, 0).cpu().numpy()), objects.cpu().numpy()


@torch.no_grad()
def embed_image(
    network: EmbeddingNetwork, image: np.ndarray, short_edge: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embedding 64,h,w and objectness h,w of one image uint8 H,W,3."""
    device = next(network.parameters()).device
    embedding, logits = network(network_input(torch.from_numpy(image).to(device), short_edge))
    return embedding[0], objectness(logits)[0]


@dataclass(frozen=True)
class EmbeddingInfo:
    """What travels with the weights."""

    __pydantic_config__ = STRICT
    format: ClassVar = "amd-embedding-1"
    kind: ClassVar = "a checkpoint of the instance embedding (`--method transfer`)"
    architecture: EmbeddingArchitecture
    short_edge: ShortEdge | None = None  # frames are resized to this to be embedded
    supervision: dict[str, Any] = field(default_factory=dict)  # images and labels that the weights were trained on
    scores: dict[str, Any] = field(default_factory=dict)  # on held-out images, with their protocol
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
