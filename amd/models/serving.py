"""What a registered model answers, by the kind of its checkpoint: one image in, named arrays out.

AMD: "soft" float32 c,H,W and "mask" uint8 H,W, 0 or 255, at the image's size. An instance embedding: "embedding"
float32 64,h,w and "objectness" float32 h,w, on the network's own grid. This file travels with a registered model.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from amd.models.amd import AMD
from amd.models.embedding import EmbeddingNetwork, embed_image
from amd.models.inference import object_mask, soft_masks
from amd.models.loading import open_model

Answer = Callable[[np.ndarray], dict[str, np.ndarray]]  # of an image uint8 H,W,3


def answer_of(checkpoint: str, device: str) -> Answer:
    """The function that a checkpoint's network is, on `device`."""
    network, info = open_model(checkpoint, device)

    def embedding(image: np.ndarray) -> dict[str, np.ndarray]:
        embedding, objectness = embed_image(cast(EmbeddingNetwork, network), image, info.short_edge)
        return {"embedding": embedding.cpu().numpy(), "objectness": objectness.cpu().numpy()}

    def masks(image: np.ndarray) -> dict[str, np.ndarray]:
        soft = soft_masks(cast(AMD, network), torch.from_numpy(image), info.short_edge)
        mask = object_mask(soft, info.object_segment)
        return {"soft": soft.cpu().numpy(), "mask": mask.cpu().numpy().astype(np.uint8) * 255}

    return embedding if isinstance(network, EmbeddingNetwork) else masks
