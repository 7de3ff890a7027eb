"""`amd segment` with AMD: the object segment of each image, after adaptation to each video where that is wanted.

Input: a model and a video. Output: each frame with the object's mask. The object is one segment, chosen without labels
(paper 3.5, or motion evidence); a pixel belongs to its most probable segment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from amd.config import Adapt, Fused
from amd.inference.export import MaskedFrame
from amd.inference.fused import Sample, fit_appearance
from amd.inference.fusion import THRESHOLD
from amd.inference.video import Video
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, object_segment, weights_hash
from amd.models.evidence import PACKAGED, load_evidence
from amd.models.inference import object_mask, soft_masks
from amd.models.loading import open_as
from amd.motion.evidence import motion_evidence
from amd.motion.spool import Spool
from amd.runtime.files import sha256
from amd.training.adaptation import LARGEST_SHORT_EDGE, Steps, adapt_to_frames, adaptation_settings


@dataclass(frozen=True)
class AmdMethod:
    """An AMD and how it is used; see amd.inference.methods.Method."""

    model: AMD
    info: ModelInfo
    chosen: int  # object segment
    adapt: Adapt | None  # None: the model as it is
    weights: str  # hash

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""
        adapt = self.adapt.iterations if self.adapt else None
        return {"method": "amd", "object_segment": self.chosen, "short_edge": self.info.short_edge, "adapt": adapt}

    def key(self, video: Video) -> dict[str, Any]:
        """What masks are made of; the same for every source."""
        sees_motion = self.adapt is not None and self.adapt.objective.evidence > 0
        return {
            "weights": self.weights,
            "segment": self.chosen,
            "short_edge": self.info.short_edge,
            "adapt": self.adapt.model_dump() if self.adapt else None,
            **({"evidence": sha256(PACKAGED)} if sees_motion else {}),
        }

    def masks(self, video: Video) -> Iterator[MaskedFrame]:
        """Each frame with its mask; one that was written before is not made again."""
        model = self._adapted(video, self.adapt) if self.adapt else self.model
        for frame in video.frames("masks"):
            name = video.name(frame.index)
            mask, soft = video.kept(name), None
            if mask is None:
                masks = soft_masks(model, torch.from_numpy(frame.image), self.info.short_edge)
                mask = object_mask(masks, self.chosen).cpu().numpy()
                soft = masks[self.chosen].cpu().numpy()
            yield MaskedFrame(frame.index, name, frame.timestamp, frame.image, mask, soft)

    def _adapted(self, video: Video, adapt: Adapt) -> AMD:
        """The model adapted to a video, or as it is with a note that says why."""
        if video.source.is_one_image:
            video.notes.append("one image has no motion to adapt to; segmented with the model as it is")
            return self.model
        images, steps = video.images("adaptation"), partial(video.steps, "fit")
        if adapt.objective.evidence:
            adapted = _fitted(self.model, self.chosen, images, adapt, steps)
        else:
            adapted = adapt_to_frames(self.model, self.info, images, adapt, steps)
        if adapted is None:
            video.notes.append(
                "nothing moves in it, so there is nothing to adapt to; segmented with the model as it is"
            )
        return adapted or self.model


def _fitted(model: AMD, segment: int, images: Iterable[np.ndarray], adapt: Adapt, steps: Steps) -> AMD | None:
    """The model fitted to what moves in frames uint8 H,W,3; None when nothing does."""
    network, info = load_evidence(device=next(model.parameters()).device)
    with Spool() as moves:
        sample = Sample(Fused().frames, adapt.short_edge or LARGEST_SHORT_EDGE)
        for values in motion_evidence(sample.watch(images), network, info):
            moves.add(values)
        if not any((moves[number] > THRESHOLD).any() for number in sample.images):
            return None
        return fit_appearance(model, segment, sample, moves, adapt, steps).model


def open_amd(model_uri: str, adapt: int | None, segment: int | None, device: str) -> AmdMethod:
    """The method with the model that `model_uri` names; `adapt` and `segment` as of amd.inference.methods."""
    return amd_method(*open_as(AMD, model_uri, device), adapt, segment)


def amd_method(model: AMD, info: ModelInfo, adapt: int | None = None, segment: int | None = None) -> AmdMethod:
    """The method with a model that is open."""
    settings = adaptation_settings(info, adapt) if adapt else None
    return AmdMethod(model, info, object_segment(info, segment), settings, weights_hash(model))
