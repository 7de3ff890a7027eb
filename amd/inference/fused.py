"""The main way from a video to masks: motion evidence, appearance fitted to it, both fused, and how sure that is.

Input: a way to read the frames from the start, and motion evidence of them. Output: a FrameMask per frame, in order.
The video is read twice, in memory that does not grow with its length: first for frames spread evenly over all of it,
to which the appearance of an AMD is fitted and which tell whether there is an object at all; then frame by frame.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, Protocol

import numpy as np
import torch

from amd.config import Adapt
from amd.config.fused import Fused
from amd.evaluation.baselines import flow_outliers
from amd.inference.confidence import Confident, judge_frame, judge_video
from amd.inference.fusion import THRESHOLD, Opinion, fuse, resized, small_size
from amd.models.amd import AMD, Architecture
from amd.models.precision import fastest_precision
from amd.training.adaptation import adapt
from amd.training.draws import Clip

OBJECT = 1  # the segment of a model from scratch that evidence makes the object

Method = Literal["fused", "motion", "amd"]


class Observe(Protocol):
    """Motion evidence of a video's frames."""

    def __call__(
        self, frames: Iterable[np.ndarray], wanted: Callable[[int], bool]
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Each of the frames uint8 H,W,3, with its evidence float32 h,w in [0, 1] where its number is wanted."""


@dataclass(frozen=True)
class FrameMask:
    """What is said of one frame."""

    image: np.ndarray  # uint8 H,W,3
    soft: np.ndarray  # float32 H,W: the object's probability
    mask: np.ndarray  # bool H,W; empty where the frame or the video is refused
    confidence: Confident


@dataclass
class Sample:
    """Frames of a video with their evidence, spread evenly over it, at most `most` of them."""

    most: int
    short_edge: int
    stride: int = 1
    images: dict[int, np.ndarray] = field(default_factory=dict)  # by number; uint8 h,w,3
    evidence: dict[int, np.ndarray] = field(default_factory=dict)

    def wanted(self, number: int) -> bool:
        """Whether a frame is to be kept, as things are."""
        return number % self.stride == 0

    def add(self, number: int, image: np.ndarray, evidence: np.ndarray) -> None:
        """Keep a frame; when there are too many, every second one is dropped and half as many are wanted."""
        self.images[number] = resized(image, small_size(image.shape, self.short_edge))
        self.evidence[number] = evidence.astype(np.float16)
        if len(self.images) > self.most:
            self.stride *= 2
            for dropped in [number for number in self.images if number % self.stride]:
                del self.images[dropped], self.evidence[dropped]


def segment_video(
    open_frames: Callable[[], Iterable[np.ndarray]],
    observe: Observe,
    settings: Fused,
    method: Method = "fused",
    start: tuple[AMD, int] | None = None,
) -> Iterator[FrameMask]:
    """A FrameMask for each of the frames uint8 H,W,3 of a video, which `open_frames` gives from the start.

    `method` says whose opinion counts: motion's alone, appearance's alone, or both. `start` is an AMD to begin
    appearance with, and its object segment; None begins from scratch. UserError as amd.training.adaptation.adapt.
    """
    sample = take_sample(observe, open_frames(), settings)
    appearance = fit_appearance(sample, settings, start) if method != "motion" and sample.images else None
    opinions = Opinions(appearance, method, settings)
    verdict = judge_video(
        [opinions.of(sample.images[number], sample.evidence[number]) for number in sample.images], settings.confidence
    )
    known = sample.evidence if verdict.sure else {}
    wanted = lambda number: verdict.sure and number not in known
    for number, (image, evidence) in enumerate(observe(open_frames(), wanted)):
        if not verdict.sure:
            nothing = np.zeros(image.shape[:2], np.float32)
            yield FrameMask(image, nothing, nothing > THRESHOLD, verdict)
            continue
        said = opinions.of(image, evidence if evidence is not None else known[number])
        soft = fuse(said, image, settings)
        confidence = judge_frame(said, settings.confidence)
        yield FrameMask(image, soft, (soft > THRESHOLD) & confidence.sure, confidence)


def flow_video(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The floor without learning: each of the frames uint8 H,W,3 with where its flow is not the camera's, bool H,W.

    Flow goes to the next frame, from the last frame to the one before; one lone frame gives the empty mask.
    """
    before: np.ndarray | None = None
    frame: np.ndarray | None = None
    for following in chain(frames, [None]):
        if frame is not None:
            other = before if following is None else following
            yield frame, np.zeros(frame.shape[:2], bool) if other is None else flow_outliers(frame, other)
        before, frame = frame, following


def take_sample(observe: Observe, frames: Iterable[np.ndarray], settings: Fused) -> Sample:
    """Frames spread over a whole video, with their evidence."""
    sample = Sample(settings.frames, settings.fit.short_edge or settings.short_edge)
    for number, (image, evidence) in enumerate(observe(frames, sample.wanted)):
        if evidence is not None and sample.wanted(number):
            sample.add(number, image, evidence)
    return sample


def fit_appearance(sample: Sample, settings: Fused, start: tuple[AMD, int] | None = None) -> "Appearance":
    """An AMD adapted to the sample's evidence."""
    images = torch.from_numpy(np.stack(list(sample.images.values()))).permute(0, 3, 1, 2)
    size = (images.shape[2], images.shape[3])
    evidence = np.stack([resized(e.astype(np.float32), size) for e in sample.evidence.values()])
    clip = Clip(images, torch.empty(0, 2, dtype=torch.int64), torch.from_numpy(evidence).half())
    model, segment = start or (from_scratch(settings), OBJECT)
    return Appearance(adapt(model, clip, settings.fit, segment), segment, settings.fit)


def from_scratch(settings: Fused) -> AMD:
    """An AMD with random weights, the same for the same seed; torch's own generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.fit.seed)
        return AMD(Architecture(**settings.model.model_dump()))


@dataclass(frozen=True)
class Appearance:
    """A fitted AMD."""

    model: AMD
    segment: int
    settings: Adapt

    @torch.no_grad()
    def probability(self, image: np.ndarray) -> np.ndarray:
        """The object's probability float32 h,w of a frame uint8 H,W,3, at the size of the fit."""
        device = next(self.model.parameters()).device
        size = small_size(image.shape, self.settings.short_edge or min(image.shape[:2]))
        pixels = torch.from_numpy(resized(image, size)).to(device).permute(2, 0, 1)[None].float() / 255
        precision = fastest_precision(self.settings.precision, device)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            masks = self.model.segment(pixels)
        return resized(masks[0, self.segment].float().cpu().numpy(), size)


@dataclass(frozen=True)
class Opinions:
    """Who says what of a frame."""

    appearance: Appearance | None
    method: Method
    settings: Fused

    def of(self, image: np.ndarray, evidence: np.ndarray) -> list[Opinion]:
        """Weights with probabilities h,w: of the evidence, and of the appearance where it was fitted."""
        share = {"fused": self.settings.appearance, "motion": 0.0, "amd": 1.0}[self.method]
        said = [(1 - share, evidence.astype(np.float32))]
        return said if self.appearance is None else [*said, (share, self.appearance.probability(image))]
