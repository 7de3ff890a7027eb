"""The main way from a video to masks: motion evidence and a model of single images, together, and how sure that is.

Input: a way to read the frames from the start, motion evidence of them, and an AMD. Output: a FrameMask per frame, in
order. The video is read twice, in memory that does not grow with its length: first for what moves, for what looks like
an object, and for frames spread evenly over all of it, which tell whether there is an object at all; then frame by
frame. On request an AMD's appearance is fitted to what both say, in between.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import numpy as np
import torch

from amd.config import Adapt
from amd.config.fused import Fused
from amd.data.sizes import resized, small_size
from amd.evaluation.baselines import flow_outliers
from amd.inference.confidence import Confident, judge_frame, judge_video
from amd.inference.fusion import THRESHOLD, Opinion, fuse
from amd.models.amd import AMD, Architecture
from amd.motion.parallax import Parallax
from amd.motion.per_image import PerImage
from amd.motion.together import Evidence, Maps, joined_maps
from amd.runtime.ahead import map_ahead
from amd.training.adaptation import Steps, adapt
from amd.training.draws import Clip
from amd.training.objective import OBJECT

Method = Literal["fused", "motion", "amd"]  # motion and single images together, motion alone, fitted appearance alone


@dataclass(frozen=True)
class FrameMask:
    """What is said of one frame."""

    image: np.ndarray  # uint8 H,W,3
    soft: np.ndarray  # float32 H,W: the object's probability; 0 where the video is refused
    mask: np.ndarray  # bool H,W; empty where the frame or the video is refused
    confidence: Confident


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
    per_image: PerImage | None = None,
    start: tuple[AMD, int] | None = None,
    device: torch.device | str = "cpu",
    threads: int = 1,
    steps: Steps = range,
    parallax: Parallax | None = None,
) -> Iterator[FrameMask]:
    """A FrameMask for each of the frames uint8 H,W,3 of a video, which `open_frames` gives from the start.

    `per_image` has a say in "fused". `start` is an AMD that a fit begins with, and its object segment; None begins from
    scratch. It is fitted on `device`, whose iterations `steps` counts. `threads` smooth masks while the next frames are
    read. `parallax` is what `evidence` counts depth with: where that is all that moves, there is no object. UserError
    as amd.training.adaptation.adapt.
    """
    sample = Sample(settings.frames, settings.fit.short_edge or settings.short_edge)
    seen = per_image if method == "fused" else None
    with joined_maps(sample.watch(open_frames()), evidence, seen, settings.least_known) as maps:
        depth = parallax.share if parallax else 0.0
        opinions, verdict = _asked(sample, maps, settings, method, start, device, steps, depth)
        if not verdict.sure:
            yield from (_nothing(image, verdict) for image in open_frames())
            return
        said = ((image, opinions.of(image, maps[number])) for number, image in enumerate(open_frames()))
        yield from map_ahead(lambda frame: _joined(*frame, settings), said, threads)


def _asked(
    sample: Sample,
    maps: Maps,
    settings: Fused,
    method: Method,
    start: tuple[AMD, int] | None,
    device: torch.device | str,
    steps: Steps,
    depth: float,
) -> tuple["Opinions", Confident]:
    """Who has a say on the frames, and the verdict on the video.

    To what is refused as undecided no appearance is fitted: that takes longer than all the rest.
    """
    limits = settings.confidence
    verdict = judge_video(([(1.0, maps[number])] for number in sample.images), limits, depth)
    fits = method == "amd" or (method == "fused" and settings.iterations > 0)
    if not fits or verdict.decided < limits.least_decided or depth > limits.most_parallax:
        return Opinions(), verdict
    model, segment = start or (from_scratch(settings), OBJECT)
    appearance = fit_appearance(model.to(device), segment, sample, maps, settings.fitting, steps)
    opinions = Opinions(appearance, 1.0 if method == "amd" else settings.appearance)
    return opinions, judge_video((opinions.of(image, maps[n]) for n, image in sample.images.items()), limits)


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
    model: AMD, segment: int, sample: Sample, moves: Maps, settings: Adapt, steps: Steps = range
) -> PerImage:
    """A copy of `model` whose `segment` is what moves in a sample of frames."""
    images = torch.from_numpy(np.stack(list(sample.images.values()))).permute(0, 3, 1, 2)
    size = (images.shape[2], images.shape[3])
    evidence = torch.from_numpy(np.stack([resized(moves[number], size) for number in sample.images]))
    clip = Clip(images, torch.empty(0, 2, dtype=torch.int64), evidence.half())
    adapted = adapt(model, clip, settings, segment, steps=steps)
    return PerImage(adapted, segment, settings.short_edge or min(size))


def from_scratch(settings: Fused) -> AMD:
    """An AMD with random weights, the same for the same seed; torch's own generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.fit.seed)
        return AMD(Architecture(**settings.model.model_dump()))


@dataclass(frozen=True)
class Opinions:
    """Who says what of a frame."""

    appearance: PerImage | None = None
    share: float = 0.0  # of the appearance

    def of(self, image: np.ndarray, evidence: np.ndarray) -> list[Opinion]:
        """Weights with probabilities h,w: of the evidence, and of the appearance where it was fitted."""
        if self.appearance is None:
            return [(1.0, evidence)]
        return [(1 - self.share, evidence), (self.share, self.appearance.probability(image))]


def _joined(image: np.ndarray, said: list[Opinion], settings: Fused) -> FrameMask:
    soft, confidence = fuse(said, image, settings), judge_frame(said, settings.confidence)
    return FrameMask(image, soft, (soft > THRESHOLD) & confidence.sure, confidence)


def _nothing(image: np.ndarray, verdict: Confident) -> FrameMask:
    return FrameMask(image, np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], bool), verdict)
