"""Frames to what the method is given of them (section 3.1): embedding and objectness.

Enters: an EmbeddingNetwork and images uint8 H,W,3 of any size. Leaves: per image an embedding float32 h,w,64 and an
objectness float32 h,w on the network's own grid.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from amd.model.inference import network_input
from amd.transfer.network import EmbeddingNetwork, objectness


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
