"""Masks of a video whose first frame is annotated (section 4.5 and A.1).

Input: the first frame's mask at its image's size, and frames in order. The regions of the first frame's seeds that
the mask covers give the foreground's embeddings, those that it does not touch the background's; both stay as they are.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from amd.config import Crf, Transfer
from amd.runtime.errors import UserError
from amd.transfer.frame import FrameFeatures, to_grid
from amd.transfer.seeds import find_seeds
from amd.transfer.video import SegmentedFrame, segment_frame


def segment_annotated(
    frames: Iterable[FrameFeatures], mask: np.ndarray, settings: Transfer, crf: Crf
) -> Iterator[SegmentedFrame]:
    """Masks of every frame, the first included, by the first's annotation `mask` bool H,W.

    Raises UserError for a mask of another size than the frame, and for one that is empty or leaves no background.
    """
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ValueError("a video without frames")
    sides = annotated_sides(first, mask, settings)
    for frame in chain([first], rest):
        yield segment_frame(frame, sides, settings, crf)


def annotated_sides(frame: FrameFeatures, mask: np.ndarray, settings: Transfer) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings n,D of the foreground and m,D of the background by the annotated regions of a frame.

    Of a region that the mask covers by more than α, the mean over region ∩ mask; of one that it does not touch, the
    mean. An object that covers no region so far is the mean over its mask.
    """
    _check(frame, mask)
    regions = find_seeds(frame, settings).regions
    cover = to_grid(mask, regions.shape).astype(np.float64)
    count = int(regions.max()) + 1
    areas, covered = np.bincount(regions.ravel(), minlength=count), np.bincount(regions.ravel(), cover.ravel(), count)
    inside, outside = covered > settings.overlap * areas, covered == 0
    if not outside.any():
        raise UserError("first-frame mask: it touches every region of the frame; leave background around the object")
    foreground = _region_means(frame.embedding, regions, cover, count)[inside]
    if not len(foreground):
        foreground = np.average(frame.embedding, (0, 1), np.repeat(cover[..., None], frame.embedding.shape[-1], -1))[
            None
        ]
    background = _region_means(frame.embedding, regions, np.ones(regions.shape), count)[outside]
    return foreground.astype(np.float32), background.astype(np.float32)


def _check(frame: FrameFeatures, mask: np.ndarray) -> None:
    if mask.shape != frame.image.shape[:2]:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (mask.shape, frame.image.shape)]
        raise UserError(f"first-frame mask: {sizes[0]} pixels for a frame of {sizes[1]}; annotate at the frame's size")
    if not mask.any():
        raise UserError("first-frame mask: it is empty; mark the object to follow")


def _region_means(embedding: np.ndarray, regions: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """count,D: the weighted mean embedding of every region; zero where the weights are."""
    totals = np.bincount(regions.ravel(), weights.ravel(), count)
    sums = np.zeros((count, embedding.shape[-1]))
    np.add.at(sums, regions.ravel(), embedding.reshape(regions.size, -1) * weights.reshape(-1, 1))
    return sums / np.maximum(totals, 1e-12)[:, None]
