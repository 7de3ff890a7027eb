"""Adapting a model to one source before it is segmented (paper 4.3), however long the source is.

Enters: an AMD and a source. Leaves: an adapted copy. The pairs are spread evenly over the whole source and thinned
out while it is decoded, once: memory does not grow with its length. Pairs that are still or a cut are left out.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from amd.adaptation import adapt, clip_of
from amd.checkpoint import ModelInfo
from amd.data.pairs import PairFilter, pair_change, thumbnail
from amd.data.video import DecodeError, Source, read_frames
from amd.errors import UserError
from amd.model.amd import AMD
from amd.params import Adapt, Section
from amd.profiles import load_profile

MOST_PAIRS = 64
LARGEST_SHORT_EDGE = 400  # of the frames kept, where the model segments at their own size: the papers' training size

SectionType = TypeVar("SectionType", bound=Section)
Pair = tuple[np.ndarray, np.ndarray]


def adaptation_settings(info: ModelInfo, iterations: int) -> Adapt:
    """The settings that the model was made with, else the papers', with `iterations`."""
    return own_section(info.params, load_profile("paper").adapt).model_copy(update={"iterations": iterations})


def adapt_to_source(model: AMD, info: ModelInfo, source: Source, settings: Adapt) -> AMD | None:
    """A copy of `model` adapted to `source`; None when nothing moves in it. UserError as amd.adaptation.adapt."""
    shard = own_section(info.params, load_profile("paper").shard)
    with closing(read_frames(source, settings.short_edge or LARGEST_SHORT_EDGE)) as frames:
        pairs = sample_pairs(_images(frames), settings.gap, PairFilter(shard.min_change, shard.max_change))
    if not pairs:
        return None
    images = [image for pair in pairs for image in pair]
    numbers = [(first, first + 1) for first in range(0, len(images), 2)]
    return adapt(model, clip_of(images, numbers, settings.short_edge), settings)


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


def own_section(params: Mapping[str, Any], default: SectionType) -> SectionType:
    """A section of the parameters `params` that a model was made with; what is not told is the default's."""
    name = type(default).__name__.lower()
    try:
        return type(default).model_validate(default.model_dump() | params.get(name, {}))
    except (ValidationError, TypeError) as error:
        raise UserError(f"the model's own {name} parameters are damaged ({str(error).splitlines()[0]})") from None


def _images(frames: Iterable) -> Iterable[np.ndarray]:
    """The frames that decode; what is wrong with the rest is told when they are segmented."""
    try:
        for frame in frames:
            yield frame.image
    except DecodeError:
        return
