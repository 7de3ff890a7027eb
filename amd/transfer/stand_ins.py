"""Other networks in the place of the embedding network: images in, an embedding and class logits out.

AMD's appearance features need no label; the features before the semantic head show what the pair loss is worth
(section 4.4). Neither was trained for eq. 1, so every pixel's features are brought to length 1: of 1 to 6, the best on
training clips (docs/transfer.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.checkpoint import ModelInfo
from amd.model.amd import AMD
from amd.segmenter import object_segment
from amd.transfer.network import EmbeddingNetwork

SURE = 1e-6  # masks are kept this far from 0 and 1


class AmdFeatures(nn.Module):
    """AMD: its backbone's features for embedding, and its object segment's soft mask for objectness."""

    def __init__(self, model: AMD, info: ModelInfo) -> None:
        """UserError for a model whose object segment nobody has chosen yet."""
        super().__init__()
        self.appearance = model.appearance.eval()
        self.segment = object_segment(info)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mask = self.appearance.masks(images)[:, self.segment].clamp(SURE, 1 - SURE)
        return F.normalize(self.appearance.features(images).float(), dim=1), torch.stack([1 - mask, mask], 1).log()


class SemanticFeatures(nn.Module):
    """The embedding network's semantic side: the features before its last layer, and its class logits."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = []
        hook = self.network.semantic[-1].register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
        logits = self.network(images)[1]
        hook.remove()
        return F.normalize(hidden[0].float(), dim=1), logits
