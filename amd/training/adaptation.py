"""Adaptation of AMD to one video (paper 4.3): the objective on frames of that video alone.

Input: an AMD, pretrained or not, and a Clip: frames and what motion tells of them. Output: an adapted copy; both
pathways are trained where the objective asks for both. Dropout is off: the iterations are too few to average it out.
"""

import copy
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Adapt, Params, own_section
from amd.data.pairs.select import PairFilter, pair_change, thumbnail
from amd.data.video.decode import fit_size, shrunk
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.precision import fastest_precision
from amd.runtime.errors import UserError
from amd.training.draws import Clip, draw
from amd.training.objective import objective, predict

WARM_UP = 0.2  # of the iterations of one_cycle: the rate rises from a tenth, as Adam's first steps are its wildest
MOST_PAIRS = 64
LARGEST_SHORT_EDGE = 400  # of the frames kept, where the model segments at their own size: the papers' training size

Pair = tuple[np.ndarray, np.ndarray]
Steps = Callable[[int], Iterable[int]]  # the numbers below a count, as `range`; who gives them sees how far it is


def adapt(
    model: AMD,
    clip: Clip,
    settings: Adapt,
    segment: int = 0,
    watch: Callable[[int, float], None] | None = None,
    steps: Steps = range,
) -> AMD:
    """An adapted copy of `model`; the same seed gives the same copy.

    `segment` is the one that evidence makes the object; without evidence it means nothing. `watch` is called with
    every iteration and its loss; `steps` counts the iterations. UserError when there is no pair, or when the loss stops
    being finite.
    """
    if not len(clip.pairs) and (settings.objective.needs_pairs or settings.objective.needs_flow):
        raise UserError(f"adaptation: {len(clip.images)} frames are too few for a pair")
    model = _trainable(model, settings)
    device = next(model.parameters()).device
    rng = np.random.default_rng(settings.seed)
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    precision = fastest_precision(settings.precision, device)
    for iteration in steps(settings.iterations):
        batch = draw(clip, settings, rng, device)
        optimiser.zero_grad(set_to_none=True)  # before the forward pass, at whose end the memory's peak is
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            prediction = predict(model, batch.images, settings.objective)
        loss = objective(prediction, batch, settings.objective, segment)
        if not torch.isfinite(loss):
            raise UserError(f"adaptation: the loss is not finite at iteration {iteration}; lower adapt.learning_rate")
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate(settings, iteration)
        optimiser.step()
        if watch is not None:
            watch(iteration, float(loss.detach()))
    return model.eval()


def rate(settings: Adapt, iteration: int) -> float:
    """The share of the learning rate at an iteration: 1, or of one cycle a cosine up from 0.1 and one down to 0."""
    if settings.schedule == "constant":
        return 1.0
    done, rise = (iteration + 0.5) / settings.iterations, WARM_UP
    if done < rise:
        return 0.1 + 0.9 * (1 - math.cos(math.pi * done / rise)) / 2
    return (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2


def clip_of(
    images: Sequence[np.ndarray],
    pairs: Sequence[tuple[int, int]],
    short_edge: int | None,
    evidence: Sequence[np.ndarray] = (),
) -> Clip:
    """The Clip of frames uint8 H,W,3 and the numbers of the two frames of every pair, without flow.

    `evidence` float32 h,w of each frame comes on a grid of its own.
    """
    frames = shrink(images, short_edge)
    maps = None
    if len(evidence):
        stacked = torch.from_numpy(np.stack(evidence))[:, None]
        maps = F.interpolate(stacked, frames.shape[2:], mode="bilinear", antialias=True)[:, 0].half()
    return Clip(frames, torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2), maps)


def pairs_apart(frames: int, gap: int) -> list[tuple[int, int]]:
    """All pairs of so many frames that lie `gap` apart."""
    return [(number, number + gap) for number in range(frames - gap)]


def shrink(images: Sequence[np.ndarray], short_edge: int | None) -> Tensor:
    """Frames as one uint8 tensor N,3,h,w with the short edge given, antialiased."""

    def resized(image: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        if short_edge is None:
            return pixels
        scale = short_edge / min(pixels.shape[2:])
        size = [max(1, round(edge * scale)) for edge in pixels.shape[2:]]
        return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)

    return torch.cat([resized(image) for image in images])


def _trainable(model: AMD, settings: Adapt) -> AMD:
    """A copy in evaluation mode, but for batch norm where it is to follow the video."""
    model = copy.deepcopy(model).eval()
    if settings.batch_norm == "adapt":
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train()
    return model


def _paper() -> Params:
    """The papers' parameters."""
    from amd.config.profiles import load_profile  # here: a registered model reads no YAML

    return load_profile("paper")


def adaptation_settings(info: ModelInfo, iterations: int) -> Adapt:
    """The settings that the model was made with, else the papers', with `iterations`."""
    return own_section(info.params, _paper().adapt).model_copy(update={"iterations": iterations})


def adapt_to_frames(
    model: AMD, info: ModelInfo, images: Iterable[np.ndarray], settings: Adapt, steps: Steps = range
) -> AMD | None:
    """A copy of `model` adapted to frames uint8 H,W,3; None when nothing moves in them. Else as `adapt`."""
    shard = own_section(info.params, _paper().shard)
    edge = settings.short_edge or LARGEST_SHORT_EDGE
    small = (shrunk(image, fit_size(image.shape[1], image.shape[0], edge)) for image in images)
    pairs = sample_pairs(small, settings.gap, PairFilter(shard.min_change, shard.max_change))
    if not pairs:
        return None
    kept = [image for pair in pairs for image in pair]
    numbers = [(first, first + 1) for first in range(0, len(kept), 2)]
    return adapt(model, clip_of(kept, numbers, settings.short_edge), settings, steps=steps)


def sample_pairs(images: Iterable[np.ndarray], gap: int, judge: PairFilter, most: int = MOST_PAIRS) -> list[Pair]:
    """Up to `most` of the moving pairs of frames uint8 H,W,3 that lie `gap` apart, spread evenly.

    Whenever there are more than `most`, every second one is dropped, and from then on half as many are taken.
    """
    pairs: list[Pair] = []
    recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=gap)
    moving, stride = 0, 1
    for image in images:
        small = thumbnail(image)
        if len(recent) == gap and judge.judge(pair_change(recent[0][1], small)) == "keep":
            if moving % stride == 0:
                pairs.append((recent[0][0], image))
            if len(pairs) > most:
                pairs, stride = pairs[::2], 2 * stride
            moving += 1
        recent.append((image, small))
    return pairs
