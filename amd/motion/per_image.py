"""What an AMD says of each frame by itself: where something looks like an object.

Input: frames. Output: the object segment's probability, the mean of a frame's and its mirror image's: they err in
different places.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from amd.data.sizes import resized, small_size
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, object_segment
from amd.models.evidence import PACKAGED
from amd.models.inference import masks_of, network_input
from amd.models.loading import open_as
from amd.motion.spool import Spool
from amd.runtime.ahead import map_ahead

PHOTOS = PACKAGED.with_name("photo.safetensors")
SHORT_EDGE = 180  # for a model that was trained on images at their own size


@dataclass(frozen=True)
class PerImage:
    """A model of single images, and its object segment."""

    model: AMD
    segment: int
    short_edge: int = SHORT_EDGE

    def watch(self, frames: Iterable[np.ndarray], seen: Spool) -> Iterator[np.ndarray]:
        """The frames uint8 H,W,3 as they come, while a thread adds what is seen in each to `seen`."""
        for image, values in map_ahead(lambda image: (image, self.probability(image)), frames, 1):
            seen.add(values)
            yield image

    @torch.no_grad()
    def probability(self, image: np.ndarray) -> np.ndarray:
        """The object's probability float32 h,w of a frame uint8 H,W,3, h or w being the model's short edge."""
        pixels = torch.from_numpy(image).to(next(self.model.parameters()).device)
        upright = network_input(pixels, self.short_edge)
        masks = masks_of(self.model, torch.cat([upright, upright.flip(-1)]))[:, self.segment]
        seen = torch.stack((masks[0], masks[1].flip(-1))).mean(0).cpu().numpy()
        return resized(seen, small_size(image.shape, self.short_edge))


def per_image_of(model: AMD, info: ModelInfo, segment: int | None = None) -> PerImage:
    """An AMD as it is to see images, by `segment`, else its own; UserError when there is no such segment."""
    return PerImage(model, object_segment(info, segment), info.short_edge or SHORT_EDGE)


@cache
def packaged_per_image(device: str = "cpu") -> PerImage:
    """The packaged model of single images."""
    return per_image_of(*open_as(AMD, PHOTOS, device))
