"""An endless stream of batches, each a function of its number.

Input: that function. Output: batches in order.

A resumed stream therefore equals an uninterrupted one, with any number of data workers. Several processes that deal
consecutive places out to each other read what one process with the whole batch would.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch.multiprocessing import get_context
from torch.utils.data import DataLoader, Dataset

from amd.runtime.errors import UserError

Batch = TypeVar("Batch")


def numbered_batches(make: Callable[[int], Batch], num_workers: int, start: int) -> Iterator[Batch]:
    """`make(number)` from `start` on, made in `num_workers` processes (0: in this one); its UserError is passed on.

    `make` travels to the processes, so it is a method of something that can be pickled.
    """
    loader = DataLoader(
        _Numbered(make),
        sampler=count(start),
        batch_size=None,  # batches are made whole
        num_workers=num_workers,
        multiprocessing_context=get_context("forkserver") if num_workers else None,  # no fork amid other threads
        worker_init_fn=_single_threaded,
        generator=torch.Generator(),  # leaves torch's own random state alone
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise UserError(str(batch))
        yield batch


def dealt(place: int, items: int, seed: int, stream: int) -> int:
    """The item at a place of an endless order in which every epoch deals each of `items` out once, shuffled.

    `stream` keeps the shuffling apart from other draws with the same seed.
    """
    epoch, position = divmod(place, items)
    return int(np.random.default_rng((stream, seed, epoch)).permutation(items)[position])


@dataclass(frozen=True)
class _Numbered(Dataset, Generic[Batch]):
    """Batches by number; an error is handed over as a value, since a worker's exception comes as a traceback."""

    make: Callable[[int], Batch]

    def __getitem__(self, number: int) -> Batch | UserError:
        try:
            return self.make(number)
        except UserError as error:
            return error


def _single_threaded(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
