"""`amd segment` by what moves: motion evidence and a model of single images together, without a label.

Input: a video. Output: each frame with the object's mask and how sure it is; an empty mask where nothing is sure. The
packaged evidence network says what moves on its own, and an AMD, the packaged one or the user's, what looks like an
object (amd.inference.fused). A photo, in which nothing moves, is given to the AMD alone.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from amd.config.fused import Fused
from amd.data.video.decode import Frame
from amd.inference.amd import AmdMethod, amd_method, open_amd
from amd.inference.choice import Choice
from amd.inference.export import MaskedFrame
from amd.inference.fused import Method, flow_video, segment_video
from amd.inference.video import Video
from amd.models.amd import AMD
from amd.models.checkpoint import weights_hash
from amd.models.evidence import PACKAGED, EvidenceInfo, EvidenceNetwork, load_evidence
from amd.models.loading import open_as
from amd.models.precision import choose_device
from amd.motion.evidence import motion_evidence
from amd.motion.parallax import Parallax
from amd.motion.per_image import PHOTOS, PerImage, per_image_of
from amd.runtime.errors import UserError

PHOTO = "a photo has no motion to see objects by; give a model of single images with --model, or leave --method out"
PHOTO_NOTE = "a photo shows no motion: the packaged model of single images is less sure than motion is"


@dataclass(frozen=True)
class MovingMethod:
    """Motion and single images together, motion alone, or fitted appearance; see amd.inference.methods.Method."""

    opinion: Method
    network: EvidenceNetwork
    info: EvidenceInfo
    settings: Fused
    threads: int
    own: AmdMethod | None = None  # the user's model of single images, which a fit begins with; None: the packaged one

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""
        return {"method": self.opinion, "supervision": "none"}

    def key(self, video: Video) -> dict[str, Any]:
        """What masks are made of."""
        if video.source.is_one_image and self.opinion != "motion":
            return self._photos().key(video)
        return {
            "method": self.opinion,
            "evidence": weights_hash(self.network),
            "start": self.own.weights if self.own else None,
            "per_image": self._photos().weights if self.opinion == "fused" else None,
            "settings": self.settings.model_dump(),
        }

    def masks(self, video: Video) -> Iterator[MaskedFrame]:
        """Each frame with its mask and confidence. UserError for a photo where only motion is asked for."""
        if video.source.is_one_image:
            if self.opinion == "motion":
                raise UserError(PHOTO)
            yield from self._photo(video)
            return
        passes = iter(("flow and evidence", "masks"))
        passing: deque[Frame] = deque()  # of the last pass: those whose masks are being made

        def open_frames() -> Iterator[np.ndarray]:
            name = next(passes)
            for frame in video.frames(name):
                if name == "masks":
                    passing.append(frame)
                yield frame.image

        parallax = Parallax()
        evidence = partial(
            motion_evidence, network=self.network, info=self.info, threads=self.threads, parallax=parallax
        )
        device = next(self.network.parameters()).device
        steps = partial(video.steps, "fit")
        start = (self.own.model, self.own.chosen) if self.own else None
        per_image = self._per_image() if self.opinion == "fused" else None
        for made in segment_video(
            open_frames, evidence, self.settings, self.opinion, per_image, start, device, self.threads, steps, parallax
        ):
            frame = passing.popleft()
            reason = made.confidence.reason
            yield MaskedFrame(
                frame.index,
                video.name(frame.index),
                frame.timestamp,
                frame.image,
                made.mask,
                made.soft,
                confidence=made.confidence.value,
                reason=reason,
            )

    def _photo(self, video: Video) -> Iterator[MaskedFrame]:
        """A photo's mask; it is as sure as the mask's probabilities are of 1."""
        if self.own is None:
            video.notes.append(PHOTO_NOTE)
        video.kept = lambda name: None  # its probabilities are wanted
        for frame in self._photos().masks(video):
            sure = 2 * float(np.asarray(frame.soft)[frame.mask].mean()) - 1 if frame.mask.any() else 0.0
            yield replace(frame, confidence=max(0.0, sure))

    def _photos(self) -> AmdMethod:
        """What single images are given to."""
        return self.own or packaged_photos(next(self.network.parameters()).device.type)

    def _per_image(self) -> PerImage:
        """Its opinion of a video."""
        photos = self._photos()
        return per_image_of(photos.model, photos.info, photos.chosen)


@cache
def packaged_photos(device: str) -> AmdMethod:
    """The packaged AMD of single images."""
    return open_amd(str(PHOTOS), None, None, device)


@dataclass(frozen=True)
class FlowMethod:
    """The floor without learning: where flow is not the camera's; see amd.inference.methods.Method."""

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""
        return {"method": "flow", "supervision": "none"}

    def key(self, video: Video) -> dict[str, Any]:
        """What masks are made of."""
        return {"method": "flow"}

    def masks(self, video: Video) -> Iterator[MaskedFrame]:
        """Each frame with its mask. UserError for a photo."""
        if video.source.is_one_image:
            raise UserError(PHOTO)
        passing: deque[Frame] = deque()

        def images() -> Iterator[np.ndarray]:
            for frame in video.frames("flow"):
                passing.append(frame)
                yield frame.image

        for image, mask in flow_video(images()):
            frame = passing.popleft()
            soft = mask.astype(np.float32)
            yield MaskedFrame(frame.index, video.name(frame.index), frame.timestamp, image, mask, soft)


def open_moving(choice: Choice, opinion: Method) -> MovingMethod:
    """The method with the evidence network and the AMD that `choice` names, else the packaged ones.

    UserError for weights that cannot be read, and a model that cannot be had or is no AMD.
    """
    network, info = load_evidence(choice.evidence or PACKAGED, choose_device(choice.device))
    start = None
    if choice.model is not None:
        start = amd_method(*open_as(AMD, choice.model, choice.device), None, choice.segment)
    settings = choice.settings.model_copy(update={"iterations": choice.adapt} if choice.adapt else {})
    return MovingMethod(opinion, network, info, settings, choice.threads, start)
