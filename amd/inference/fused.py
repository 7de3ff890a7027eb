"""The main way from a video to masks: motion evidence, appearance fitted to it, both fused, and how sure that is.

Input: a way to read the frames from the start, and motion evidence of them. Output: a FrameMask per frame, in order.
The video is read twice, in memory that does not grow with its length: first for its evidence, and for frames spread
evenly over all of it, to which the appearance of an AMD is fitted and which tell whether there is an object at all;
then frame by frame.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

import numpy as np
import torch

from amd.config import Adapt
from amd.config.fused import Fused
from amd.evaluation.baselines import flow_outliers
from amd.inference.confidence import Confident, judge_frame, judge_video
from amd.inference.fusion import THRESHOLD, Opinion, fuse, resized, small_size
from amd.inference.spool import Spool
from amd.models.amd import AMD, Architecture
from amd.models.precision import fastest_precision
from amd.runtime.ahead import map_ahead
from amd.training.adaptation import Steps, adapt
from amd.training.draws import Clip
from amd.training.objective import OBJECT

Method = Literal["fused", "motion", "amd"]  # whose opinion counts: of both, of motion, of AMD's appearance
Evidence = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]  # of frames uint8 H,W,3, in order: float32 h,w each


@dataclass(frozen=True)
class FrameMask:
    """What is said of one frame."""

    image: np.ndarray  # uint8 H,W,3
    soft: np.ndarray  # float32 H,W: the object's probability; 0 where the video is refused
    mask: np.ndarray  # bool H,W; empty where the frame or the video is refused
    confidence: Confident
    opinions: tuple[Opinion, ...] = ()  # what was joined; none where the video is refused


@dataclass
class Sample:
    """Frames spread evenly over a video, at most `most` of them, by their numbers."""

    most: int
    short_edge: int
    stride: int = 1
    images: dict[int, np.ndarray] = field(default_factory=dict)  # uint8 h,w,3

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The frames as they come; when too many are kept, every second one is dropped and half as many are taken."""
        for number, image in enumerate(frames):
            if number % self.stride == 0:
                self.images[number] = resized(image, small_size(image.shape, self.short_edge))
            if len(self.images) > self.most:
                self.stride *= 2
                self.images = {n: kept for n, kept in self.images.items() if n % self.stride == 0}
            yield image


def segment_video(
    open_frames: Callable[[], Iterable[np.ndarray]],
    evidence: Evidence,
    settings: Fused,
    method: Method = "fused",
    start: tuple[AMD, int] | None = None,
    device: torch.device | str = "cpu",
    threads: int = 1,
    steps: Steps = range,
) -> Iterator[FrameMask]:
    """A FrameMask for each of the frames uint8 H,W,3 of a video, which `open_frames` gives from the start.

    `start` is an AMD to begin appearance with, and its object segment; None begins from scratch. It is fitted on
    `device`, whose iterations `steps` counts. `threads` smooth masks while the next frames are read. UserError as
    amd.training.adaptation.adapt.
    """
    with Spool() as moves:
        sample = Sample(settings.frames, settings.fit.short_edge or settings.short_edge)
        for values in evidence(sample.watch(open_frames())):
            moves.add(values)
        opinions, verdict = _asked(sample, moves, settings, method, start, device, steps)
        if not verdict.sure:
            yield from (_nothing(image, verdict) for image in open_frames())
            return
        said = ((image, opinions.of(image, moves[number])) for number, image in enumerate(open_frames()))
        yield from map_ahead(lambda frame: _joined(*frame, settings), said, threads)


def _asked(
    sample: Sample,
    moves: Spool,
    settings: Fused,
    method: Method,
    start: tuple[AMD, int] | None,
    device: torch.device | str,
    steps: Steps,
) -> tuple["Opinions", Confident]:
    """Who has a say on the frames, and the verdict on the video.

    To motion that is refused as undecided, by itself, no appearance is fitted: that takes longer than all the rest.
    """
    opinions, limits = Opinions(None, method, settings.appearance), settings.confidence
    images = sample.images.items()
    if method != "motion":
        seen = ((image.shape[:2], moves[number]) for number, image in images)
        alone = judge_video(([(1.0, resized(values, (size[0], size[1])))] for size, values in seen), limits)
        if not sample.images or alone.decided < limits.least_decided:
            return opinions, alone
        model, segment = start or (from_scratch(settings), OBJECT)
        appearance = fit_appearance(model.to(device), segment, sample, moves, settings.fitting, steps)
        opinions = replace(opinions, appearance=appearance)
    return opinions, judge_video([opinions.of(image, moves[number]) for number, image in images], limits)


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


def fit_appearance(
    model: AMD, segment: int, sample: Sample, moves: Spool, settings: Adapt, steps: Steps = range
) -> "Appearance":
    """A copy of `model` whose `segment` is what moves in a sample of frames."""
    images = torch.from_numpy(np.stack(list(sample.images.values()))).permute(0, 3, 1, 2)
    size = (images.shape[2], images.shape[3])
    evidence = torch.from_numpy(np.stack([resized(moves[number], size) for number in sample.images]))
    clip = Clip(images, torch.empty(0, 2, dtype=torch.int64), evidence.half())
    return Appearance(adapt(model, clip, settings, segment, steps=steps), segment, settings)


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
    share: float  # of the appearance, where both count

    def of(self, image: np.ndarray, evidence: np.ndarray) -> list[Opinion]:
        """Weights with probabilities h,w: of the evidence, and of the appearance where it was fitted."""
        share = {"fused": self.share, "motion": 0.0, "amd": 1.0}[self.method]
        said = [(1 - share, evidence)]
        return said if self.appearance is None else [*said, (share, self.appearance.probability(image))]


def _joined(image: np.ndarray, said: list[Opinion], settings: Fused) -> FrameMask:
    soft, confidence = fuse(said, image, settings), judge_frame(said, settings.confidence)
    return FrameMask(image, soft, (soft > THRESHOLD) & confidence.sure, confidence, tuple(said))


def _nothing(image: np.ndarray, verdict: Confident) -> FrameMask:
    return FrameMask(image, np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], bool), verdict)
