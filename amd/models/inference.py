"""Soft masks of one image at its own size.

Input: an image of any size. It is resized (antialiased bilinear) so that its short edge is `short_edge`, and
the masks are resized back. Torch alone, so that a registered model carries it along and gives the same masks.
Convolutions are float32, or of the type that the machine multiplies fastest where the model's checkpoint says that its
masks bear it (amd.models.precision).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.models.amd import AMD
from amd.models.precision import fastest_precision
from amd.models.semantic import SemanticNetwork


@torch.no_grad()
def soft_masks(model: AMD | SemanticNetwork, image: Tensor, short_edge: int | None) -> Tensor:
    """Masks c,H,W, float32 summing to one over c, of an image uint8 H,W,3 on any device."""
    masks = masks_of(model, network_input(image.to(next(model.parameters()).device), short_edge))
    return F.interpolate(masks, image.shape[:2], mode="bilinear", align_corners=False)[0]


def masks_of(model: AMD | SemanticNetwork, pixels: Tensor) -> Tensor:
    """Masks n,c,h,w of images n,3,h,w in [0, 1] on the model's device, multiplied in the type that they bear."""
    precision = fastest_precision("auto" if model.bfloat16 else "float32", pixels.device)
    with torch.autocast(pixels.device.type, precision, enabled=precision != torch.float32):
        return model.segment(pixels).float()


def network_input(image: Tensor, short_edge: int | None) -> Tensor:
    """An image uint8 H,W,3 as float32 1,3,h,w in [0, 1], resized so that its short edge is `short_edge`."""
    height, width = image.shape[:2]
    pixels = image.permute(2, 0, 1)[None].float() / 255
    if short_edge is None:
        return pixels
    scale = short_edge / min(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def label_map(masks: Tensor) -> Tensor:
    """The segment that claims each pixel: masks c,H,W give uint8 H,W."""
    best, labels = masks[0], torch.zeros_like(masks[0], dtype=torch.uint8)
    for segment in range(1, len(masks)):  # ten times as fast as argmax over the slow axis
        labels = torch.where(masks[segment] > best, segment, labels).to(torch.uint8)
        best = torch.maximum(best, masks[segment])
    return labels


def object_mask(masks: Tensor, object_segment: int) -> Tensor:
    """Where the object segment claims the pixel: masks c,H,W give bool H,W."""
    return label_map(masks) == object_segment
