"""What a registered model answers, by the kind of its checkpoint: one image in, named arrays out.

AMD: "soft" float32 c,H,W and "mask" uint8 H,W, 0 or 255, at the image's size. An instance embedding: "embedding"
float32 64,h,w and "objectness" float32 h,w, on the network's own grid. This file travels with a registered model.
"""

from collections.abc import Callable

import numpy as np
import torch

from amd.models.checkpoint import EMBEDDING_FORMAT, file_format, load_checkpoint
from amd.models.inference import object_mask, soft_masks

Answer = Callable[[np.ndarray], dict[str, np.ndarray]]  # of an image uint8 H,W,3


def open_model(checkpoint: str, device: str) -> Answer:
    """The function that a checkpoint's network is, on `device`."""
    opener = _open_embedding if file_format(checkpoint) == EMBEDDING_FORMAT else _open_amd
    return opener(checkpoint, device)


def _open_amd(checkpoint: str, device: str) -> Answer:
    model, info = load_checkpoint(checkpoint)
    model.to(device)

    def answer(image: np.ndarray) -> dict[str, np.ndarray]:
        soft = soft_masks(model, torch.from_numpy(image), info.short_edge)
        mask = object_mask(soft, info.object_segment)
        return {"soft": soft.cpu().numpy(), "mask": mask.cpu().numpy().astype(np.uint8) * 255}

    return answer


def _open_embedding(checkpoint: str, device: str) -> Answer:
    from amd.models.embedding import embed_image, load_embedding

    network, info = load_embedding(checkpoint)
    network.to(device)

    def answer(image: np.ndarray) -> dict[str, np.ndarray]:
        embedding, objectness = embed_image(network, image, info.short_edge)
        return {"embedding": embedding.cpu().numpy(), "objectness": objectness.cpu().numpy()}

    return answer
