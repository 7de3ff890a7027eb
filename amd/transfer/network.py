"""The instance embedding network (section 3.1): one image to an embedding and a class per pixel.

Enters: images B,3,H,W in [0, 1]. Leaves: embeddings B,64,h,w, in which pixels of one instance are near, and class
logits B,1+classes,h,w, background first; h and w are H and W over the output stride. One dilated residual body, two
heads. Torch alone, so that a registered model carries it along.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.model.appearance import DEVIATION, MEAN, ConvBlock
from amd.model.resnet import initialise, make_backbone

CHANNELS = 64  # of an embedding (4.2)


@dataclass(frozen=True)
class EmbeddingArchitecture:
    """What a checkpoint must agree with; `classes` are the names that the semantic head knows, from 1."""

    backbone: str
    output_stride: int
    dropout: float
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a checkpoint's metadata."""
        return asdict(self)


class EmbeddingNetwork(nn.Module):
    """`EmbeddingNetwork(images)` gives (embedding, class logits), both float32 at the output stride."""

    def __init__(self, architecture: EmbeddingArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = make_backbone(architecture.backbone, architecture.output_stride)
        self.embedding = self._head(CHANNELS)
        self.semantic = self._head(1 + len(architecture.classes))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        initialise(self)
        nn.init.normal_(self.embedding[-1].weight, std=0.01)  # starts with all pixels near, where eq. 1 has a slope
        self.to(memory_format=torch.channels_last)

    def _head(self, outputs: int) -> nn.Sequential:
        hidden, dilation = self.backbone.head_channels, self.backbone.head_dilation
        return nn.Sequential(
            ConvBlock(self.backbone.channels, hidden, dilation),
            ConvBlock(hidden, hidden, dilation),
            nn.Dropout2d(self.architecture.dropout),
            nn.Conv2d(hidden, outputs, 1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        normalised = (images - self.mean) / self.deviation
        features = self.backbone(normalised.contiguous(memory_format=torch.channels_last))
        return self.embedding(features).float(), self.semantic(features).float()


def objectness(logits: Tensor) -> Tensor:
    """Eq. 3: one minus the probability of background, B,h,w in [0, 1], of class logits B,1+classes,h,w."""
    return 1 - F.softmax(logits, dim=1)[:, 0]
