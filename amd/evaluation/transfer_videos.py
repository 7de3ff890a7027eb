"""Sequences of a benchmark as Instance Embedding Transfer sees them: looked at once, segmented many times.

Input: a benchmark's sequence and features (a network with what is to be said of it). Output: its seeds, its frames'
features from a temporary file as often as an experiment wants them, and scores of masks. Evidence is that of the
packaged networks.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import IO, Any, cast

import numpy as np
from torch import nn

from amd.config import Crf, Transfer
from amd.data.benchmarks.davis import Sequence
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image
from amd.evaluation.metrics import boundary_f, jaccard
from amd.models.amd import AMD
from amd.models.embedding import EmbeddingNetwork
from amd.models.loading import open_as
from amd.motion.flow import inverse_search
from amd.motion.together import packaged_maps
from amd.runtime.errors import UserError
from amd.transfer.amd_features import AmdFeatures, SemanticFeatures
from amd.transfer.frame import FrameFeatures, keep, kept, video_features
from amd.transfer.seeds import FrameSeeds, find_seeds
from amd.transfer.video import SegmentedFrame, choose_foreground, segment_frames


@dataclass(frozen=True)
class Describer:
    """What describes images: a network, the size that it sees them at, and the labels behind it."""

    network: nn.Module
    short_edge: int | None
    supervision: Any


def open_features(kind: str, uri: str) -> Describer:
    """Describer `kind` ("embedding" or "amd") of the model that `uri` names; UserError when it is not such a model."""
    if kind == "amd":
        model, info = open_as(AMD, uri, "auto")
        return Describer(AmdFeatures(model, info), info.short_edge, "none")
    network, of_network = open_as(EmbeddingNetwork, uri, "auto")
    return Describer(network, of_network.short_edge, of_network.supervision)


def semantic_features(embedding: Describer) -> Describer:
    """The same network's features before its semantic head."""
    return replace(embedding, network=SemanticFeatures(cast(EmbeddingNetwork, embedding.network)))


@dataclass(frozen=True)
class DescribedSequence:
    """A sequence that was looked at."""

    sequence: Sequence
    seeds: list[FrameSeeds]
    file: IO[bytes]  # the frames' features

    def frames(self) -> Iterator[FrameFeatures]:
        """The frames in order, again and again."""
        return kept(self.file, len(self.seeds))

    def segment(self, settings: Transfer, crf: Crf) -> Iterator[SegmentedFrame]:
        """Results by `settings`, whose window and number of seeds are those that the video was looked at with."""
        return segment_frames(self.frames(), self.seeds, choose_foreground(self.seeds, settings), settings, crf)

    def score(self, masks: Iterable[np.ndarray]) -> dict[str, float]:
        """Mean J and F of masks of all frames, over those that count."""
        scores = [
            (jaccard(mask, truth), boundary_f(mask, truth))
            for frame, mask in zip(self.sequence.frames, masks, strict=True)
            if frame in self.counted
            for truth in [read_truth(frame)]
        ]
        return dict(zip("JF", np.mean(scores, axis=0).tolist(), strict=True))

    @property
    def counted(self) -> tuple:
        """The frames that the benchmark's protocol counts."""
        return self.sequence.scored_frames

    def first_truth(self) -> np.ndarray:
        """The first frame's annotation; UserError when it has none."""
        first = self.sequence.frames[0]
        if first.truth is None:
            raise UserError(f"{first.image}: the first frame of {self.sequence.name} is not annotated")
        return read_truth(first)


@contextmanager
def looked_at(sequence: Sequence, features: Describer, settings: Transfer) -> Iterator[DescribedSequence]:
    """A sequence with its seeds; its features lie in a temporary file as long as the body runs.

    UserError for a sequence of which no frame counts, and for images that cannot be read.
    """
    if not sequence.scored_frames:
        raise UserError(f"{sequence.frames[0].image.parent}: no annotated frame of {sequence.name} counts")
    images = lambda: (read_image(frame.image) for frame in sequence.frames)
    cue = packaged_maps(images()) if settings.cues == "evidence" else nullcontext()
    with cue as maps, tempfile.TemporaryFile() as file:
        described = video_features(images(), features.network, features.short_edge, inverse_search, maps)
        yield DescribedSequence(sequence, [find_seeds(frame, settings) for frame in keep(described, file)], file)
