"""A video's masks from the features of its frames (sections 3.3 and 3.4): the entry to the method.

Input: frames in order, once (see amd.transfer.frame). Output: per frame the foreground's probability and mask at the
image's size. The object is the best seed track of the whole video, so all frames are seen before the first mask; in
between they wait on disk. Memory holds the seeds alone.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from amd.config import Crf, Transfer
from amd.transfer.crf import refine
from amd.transfer.frame import FrameFeatures, keep, kept
from amd.transfer.posterior import at_image_size, foreground_probability, with_prior
from amd.transfer.seeds import FrameSeeds, find_seeds
from amd.transfer.tracks import foreground_track, link_seeds, seed_sets, track_scores


@dataclass(frozen=True)
class SegmentedFrame:
    """One frame's result."""

    probability: np.ndarray  # H,W float32, of the foreground
    mask: np.ndarray  # H,W bool: the probability is above one half


def segment_video(frames: Iterable[FrameFeatures], settings: Transfer, crf: Crf) -> Iterator[SegmentedFrame]:
    """Masks of the object, one per frame, in order.

    Without any sign of an object (no seed with objectness that moves) all masks are empty. ValueError without frames.
    """
    with tempfile.TemporaryFile() as file:
        seeds = [find_seeds(frame, settings) for frame in keep(frames, file)]
        chosen = choose_foreground(seeds, settings)
        yield from segment_frames(kept(file, len(seeds)), seeds, chosen, settings, crf)


def choose_foreground(seeds: Sequence[FrameSeeds], settings: Transfer) -> np.ndarray | None:
    """The number of the foreground's seed in every frame; None when nothing speaks for an object."""
    if not seeds:
        raise ValueError("a video without frames")
    tracks = link_seeds([frame.embeddings for frame in seeds])
    objectness, saliency = [frame.objectness for frame in seeds], [frame.saliency for frame in seeds]
    return foreground_track(tracks, track_scores(tracks, objectness, saliency, settings.ranking))


def segment_frames(
    frames: Iterable[FrameFeatures],
    seeds: Sequence[FrameSeeds],
    chosen: np.ndarray | None,
    settings: Transfer,
    crf: Crf,
) -> Iterator[SegmentedFrame]:
    """Masks by the sets of seeds, which are renewed every `adapt_every` frames (0: only taken from the first)."""
    sides = None
    for number, (frame, found) in enumerate(zip(frames, seeds, strict=True)):
        if chosen is not None and (number % settings.adapt_every == 0 if settings.adapt_every else number == 0):
            foreground, background = seed_sets(frame.embedding, found, int(chosen[number]), settings)
            sides = found.embeddings[foreground], found.embeddings[background]
        yield segment_frame(frame, sides, settings, crf)


def segment_frame(
    frame: FrameFeatures, sides: tuple[np.ndarray, np.ndarray] | None, settings: Transfer, crf: Crf
) -> SegmentedFrame:
    """The mask of a frame by both sides' seed embeddings n,D and m,D; empty where there are none."""
    size = frame.image.shape[:2]
    if sides is None:
        return SegmentedFrame(np.zeros(size, np.float32), np.zeros(size, bool))
    probability = foreground_probability(frame.embedding, *sides)
    if frame.flow is None:
        probability = with_prior(probability, frame.objectness, settings.prior)
    probability = at_image_size(probability, size)
    if settings.crf:
        probability = refine(probability, frame.image, crf)
    return SegmentedFrame(probability, probability > 0.5)
