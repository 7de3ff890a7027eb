"""Test-time adaptation of one video (paper 4.3): the training objective on pairs of that video alone.

Enters: a pretrained AMD and the video's frames. Leaves: an adapted copy of it; both pathways are trained. Pairs are
cropped and flipped as in pretraining: whole frames would be stretched otherwise than the motion pathway has learned.
Dropout is off: the iterations are too few to average it out.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Adapt, own_section
from amd.config.profiles import load_profile
from amd.data.pairs.select import PairFilter, pair_change, thumbnail
from amd.data.video.decode import DecodeError, Source, read_frames
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.precision import fastest_precision
from amd.runtime.errors import UserError
from amd.training.losses import view_synthesis_loss


def adapt(
    model: AMD,
    images: Sequence[np.ndarray],
    settings: Adapt,
    watch: Callable[[int, float], None] | None = None,
) -> AMD:
    """Adapt a copy of `model` to frames uint8 H,W,3 of one video, in order; the same seed gives the same copy.

    `watch` is called with every iteration and its loss. Raises UserError when there are not enough frames for a
    pair, or when the loss stops being finite.
    """
    if len(images) <= settings.gap:
        raise UserError(f"adaptation: {len(images)} frames are too few for a pair with gap {settings.gap}")
    model = _trainable(model, settings)
    device = next(model.parameters()).device
    frames = shrink(images, settings.short_edge)
    rng = np.random.default_rng(settings.seed)
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    precision = fastest_precision(settings.precision, device)
    for iteration in range(settings.iterations):
        first, second = _draw(frames, settings, rng, device)
        optimiser.zero_grad(set_to_none=True)  # before the forward pass, at whose end the memory's peak is
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            output = model(first, second)
        loss = view_synthesis_loss(output, first, second)
        if not torch.isfinite(loss):
            raise UserError(f"adaptation: the loss is not finite at iteration {iteration}; lower adapt.learning_rate")
        loss.backward()
        optimiser.step()
        if watch is not None:
            watch(iteration, float(loss.detach()))
    return model.eval()


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


def _draw(frames: Tensor, settings: Adapt, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """A batch of pairs B,3,h,w in [0, 1]; each pair shares its crop and its flip."""
    height, width = frames.shape[2:]
    crop_height, crop_width = (min(settings.crop or edge, edge) for edge in (height, width))
    firsts, seconds = [], []
    for number in rng.integers(0, len(frames) - settings.gap, settings.batch_size):
        top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
        flip = rng.random() < 0.5
        for batch, frame in ((firsts, frames[number]), (seconds, frames[number + settings.gap])):
            crop = frame[:, top : top + crop_height, left : left + crop_width]
            batch.append(crop.flip(2) if flip else crop)
    return tuple(torch.stack(batch).to(device).float() / 255 for batch in (firsts, seconds))


MOST_PAIRS = 64
LARGEST_SHORT_EDGE = 400  # of the frames kept, where the model segments at their own size: the papers' training size

Pair = tuple[np.ndarray, np.ndarray]


def adaptation_settings(info: ModelInfo, iterations: int) -> Adapt:
    """The settings that the model was made with, else the papers', with `iterations`."""
    return own_section(info.params, load_profile("paper").adapt).model_copy(update={"iterations": iterations})


def adapt_to_source(model: AMD, info: ModelInfo, source: Source, settings: Adapt) -> AMD | None:
    """A copy of `model` adapted to `source`; None when nothing moves in it. UserError as `adapt`."""
    shard = own_section(info.params, load_profile("paper").shard)
    with closing(read_frames(source, settings.short_edge or LARGEST_SHORT_EDGE)) as frames:
        pairs = sample_pairs(_images(frames), settings.gap, PairFilter(shard.min_change, shard.max_change))
    if not pairs:
        return None
    # All first frames, then all second ones: with their number as the gap, `adapt` draws these pairs and no others.
    images = [first for first, _ in pairs] + [second for _, second in pairs]
    return adapt(model, images, settings.model_copy(update={"gap": len(pairs)}))


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


def _images(frames: Iterable) -> Iterable[np.ndarray]:
    """The frames that decode; what is wrong with the rest is told when they are segmented."""
    try:
        for frame in frames:
            yield frame.image
    except DecodeError:
        return
