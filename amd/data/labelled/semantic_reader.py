"""The training stream of images with labels.

Input: images on disk. Output: an endless stream of augmented batches.

Batch n is a function of (seed, n) alone. Process r of p takes its part of every batch, so that p processes with b
images each read what one process with p x b images would.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from amd.data.benchmarks.sequences import BenchmarkFrame
from amd.data.benchmarks.voc import read_labelled
from amd.data.labelled.batches import dealt, numbered_batches
from amd.data.labelled.transforms import SemanticTransform

ORDER, AUGMENTATION = 1, 2  # draws that must not repeat one another


@dataclass(frozen=True)
class SemanticBatch:
    """Crops with their labels."""

    images: Tensor  # uint8 B,crop,crop,3
    labels: Tensor  # uint8 B,crop,crop: 0 background, classes, VOID


@dataclass(frozen=True)
class SemanticReader:
    """What the batches of one process are made of."""

    frames: Sequence[BenchmarkFrame]
    classes: int  # with background
    transform: SemanticTransform
    batch_size: int  # of this process
    seed: int
    rank: int = 0
    world_size: int = 1

    def batches(self, num_workers: int, start: int) -> Iterator[SemanticBatch]:
        """The endless stream from batch `start` on; UserError for an image that cannot be read."""
        return numbered_batches(self.batch, num_workers, start)

    def batch(self, number: int) -> SemanticBatch:
        """Batch `number` of this process."""
        first = (number * self.world_size + self.rank) * self.batch_size
        images, labels = zip(*(self._sample(place) for place in range(first, first + self.batch_size)), strict=True)
        return SemanticBatch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)))

    def _sample(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        frame = self.frames[dealt(place, len(self.frames), self.seed, ORDER)]
        rng = np.random.default_rng((AUGMENTATION, self.seed, place))
        return self.transform(*read_labelled(frame, self.classes), rng)
