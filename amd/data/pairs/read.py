"""The training reader: shards of frame pairs in, an endless stream of augmented batches out.

Each epoch deals the shards, in an order permuted by (seed, epoch), out to world_size x workers parts. A part keeps
several of its shards open and draws from them in turn, so that a batch mixes videos although a shard holds one.
Which sample comes when follows from (seed, epoch, position) and the counts in index.parquet alone: a position is
one number, going back to it decodes nothing that was handed out before, and a resumed stream equals an
uninterrupted one bit for bit. Worker w of W gives the batches w, w + W, ... of its rank.

Shards are WebDataset's, and so is the rule that tells their samples apart; its own stream through the whole file took a
sixth of the time of small pairs. Here a shard's table of contents is read once, and then nothing but the pictures.

Where motion evidence is wanted, samples are drawn by its quality: in each epoch a sample comes with a probability that
is its quality beside the best one's. So a sample of quality 0 never comes, and one half as good comes half as often;
samples of long videos come less often.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing import get_context
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from amd.data.images import decode_jpeg
from amd.data.pairs.evidence import decode_map
from amd.data.pairs.shard import Contents, Shard, ShardFile, damaged, first_line, load_index, read_contents
from amd.data.pairs.transforms import PairTransform
from amd.runtime.errors import UserError

OPEN_SHARDS = 32  # of a part at once: more than the pairs of a batch, so that its videos differ
WINDOW = 16  # samples of an open shard that are shuffled: what is read lies close together in the file
PREFETCH = 2  # batches that each worker prepares ahead

SHARD_ORDER, SAMPLE_ORDER, AUGMENTATION, CHOICE = 1, 2, 3, 4  # draws that must not repeat one another


@dataclass(frozen=True)
class Batch:
    """Frame pairs: `first` and `second` are uint8 B,crop,crop,3; `keys` names the samples.

    `evidence` is uint8 2B,crop,crop, 255 times P(this pixel moves on its own) of all first frames and then of all
    second ones; None where it was not asked for.
    """

    first: Tensor
    second: Tensor
    keys: list[str]
    evidence: Tensor | None = None


def to_float(batch: Batch, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """First and second frames as float32 B,3,crop,crop in [0, 1] on `device`; what travels are bytes.

    They stay channels-last in memory, which convolutions like.
    """

    def convert(frames: Tensor) -> Tensor:
        return frames.to(device).permute(0, 3, 1, 2).float().div_(255.0)

    return convert(batch.first), convert(batch.second)


class PairReader(Iterator[Batch]):
    """An endless iterator of the batches of one rank.

    `index` is the index.parquet beside the shards; `batch_size` is of this rank, as are `workers`, the data processes
    (0 reads in this one). `start` batches are passed over: give it `state_dict()["batches"]` of an earlier
    reader to go on after its last batch. The stream depends on `world_size` and on max(1, workers). `evidence`: batches
    have motion evidence, and samples are drawn by its quality.

    Raises UserError when a shard is missing or damaged, when there are fewer shards than processes x workers, and when
    there is no evidence that is good enough.
    """

    def __init__(
        self,
        index: Path | str,
        transform: PairTransform,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        start: int = 0,
        evidence: bool = False,
    ) -> None:
        shards = load_index(Path(index))
        chances = evidence_chances(shards, Path(index)) if evidence else None
        parts_per_rank = max(1, workers)
        if len(shards) < world_size * parts_per_rank:
            raise UserError(
                f"{index}: {len(shards)} shards are too few for {world_size} processes x {parts_per_rank} "
                "workers; lower pretrain.num_workers or pretrain.processes, or make more shards with a smaller "
                "shard.pairs_per_shard"
            )
        pairs_of_rank = _RankPairs(
            shards, transform, batch_size, seed, rank, world_size, parts_per_rank, start, chances
        )
        self._loader = _loader(pairs_of_rank, workers)
        self._stream: Iterator[Batch | UserError] | None = None
        self._batches = start

    def __next__(self) -> Batch:
        if self._stream is None:
            self._stream = iter(self._loader)
        batch = next(self._stream)
        if isinstance(batch, UserError):
            raise UserError(str(batch))  # a new one: raising a local would tie the workers into a cycle
        self._batches += 1
        return batch

    def state_dict(self) -> dict[str, int]:
        """The position: how many batches were handed out, those before `start` included."""
        return {"batches": self._batches}


def evidence_chances(shards: Sequence[Shard], index: Path) -> list[np.ndarray]:
    """Of every sample of every shard, how likely it comes in an epoch: by its quality.

    A long video comes no more often than the one in the middle does: a network would else see little beside it.
    """
    if any(shard.quality is None for shard in shards):
        raise UserError(f"{index}: the shards hold no motion evidence; run the stage shard again")
    qualities = [np.asarray(shard.quality, np.float64) for shard in shards]
    best = max(float(quality.max()) for quality in qualities)
    if not best:
        raise UserError(
            f"{index}: no frame has motion evidence that is sure; {index.with_name('evidence.parquet')} says why: "
            "give videos in which something moves"
        )
    weights: dict[tuple[str, ...], float] = defaultdict(float)
    for shard, quality in zip(shards, qualities, strict=True):
        weights[shard.videos] += quality.sum()
    middle = float(np.median([weight for weight in weights.values() if weight]))
    shares = [min(1.0, middle / max(weights[shard.videos], 1.0)) for shard in shards]
    return [share * quality / best for share, quality in zip(shares, qualities, strict=True)]


def _loader(pairs: "_RankPairs", workers: int) -> DataLoader:
    context = None
    if workers:
        context = get_context("forkserver")  # a plain fork would copy the training process amid its threads
        context.set_forkserver_preload([__name__])
    return DataLoader(
        pairs,
        batch_size=None,  # batches are made by the dataset
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        multiprocessing_context=context,
        worker_init_fn=_single_threaded,
        generator=torch.Generator(),  # leaves torch's own random state, which training saves, alone
    )


def _single_threaded(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@dataclass(frozen=True, eq=False)
class _RankPairs(IterableDataset):
    """The batches of one rank; in a data worker that worker's share of them."""

    shards: Sequence[Shard]
    transform: PairTransform
    batch_size: int
    seed: int
    rank: int
    world_size: int
    parts_per_rank: int
    start: int
    chances: Sequence[np.ndarray] | None = None

    def __iter__(self) -> Iterator[Batch | UserError]:
        # The loader asks process 0 first, which therefore plays the worker whose turn it is after `start`.
        info = get_worker_info()
        worker = (self.start + (info.id if info else 0)) % self.parts_per_rank
        batches_done = len(range(worker, self.start, self.parts_per_rank))
        samples = self._samples(self.rank * self.parts_per_rank + worker, batches_done * self.batch_size)
        try:
            while True:
                keys, *layers = zip(*islice(samples, self.batch_size), strict=True)
                first, second, *maps = (torch.from_numpy(np.stack(layer)) for layer in layers)
                yield Batch(first, second, list(keys), torch.cat(maps) if maps else None)
        except UserError as error:  # raised here, it would reach the user as a traceback of the worker
            yield error

    def _samples(self, part: int, skip: int) -> Iterator[tuple[Any, ...]]:
        """Key, augmented pair and maps of every sample of a part after the first `skip`, epoch after epoch."""
        counts = np.array([shard.samples for shard in self.shards])
        offsets = np.cumsum(counts) - counts
        contents: dict[int, Contents] = {}  # of every shard that was read from: 100 bytes a sample
        files: dict[int, ShardFile] = {}
        parts = self.world_size * self.parts_per_rank
        for epoch, shard, number, last, skipped in positions(counts, self.seed, part, parts, skip, self.chances):
            if not skipped:
                path = self.shards[shard].path
                if shard not in contents:
                    contents[shard] = read_contents(path)
                if shard not in files:
                    files[shard] = ShardFile(path, contents[shard])
                rng = np.random.default_rng((AUGMENTATION, self.seed, epoch, offsets[shard] + number))
                yield _augmented(files[shard], number, self.transform, rng, self.chances is not None)
            if last and shard in files:
                files.pop(shard).close()


class Position(NamedTuple):
    """What a part reads next: sample `number` of `shard`, its `last` of the epoch; `skipped`: only passed over."""

    epoch: int
    shard: int
    number: int
    last: bool
    skipped: bool


def positions(
    counts: np.ndarray, seed: int, part: int, parts: int, skip: int, chances: Sequence[np.ndarray] | None = None
) -> Iterator[Position]:
    """The endless order in which a part reads shards of `counts` samples, from its sample `skip` on.

    `chances` say how likely each sample comes in an epoch; without them each comes once. Epochs that lie before `skip`
    are passed over by their counts; the rest of `skip` comes marked as skipped, because it decides what is drawn next.
    """
    for epoch in count():
        shards = np.random.default_rng((SHARD_ORDER, seed, epoch)).permutation(len(counts))[part::parts]
        drawn = {int(shard): _drawn(int(counts[shard]), int(shard), seed, epoch, chances) for shard in shards}
        samples = sum(map(len, drawn.values()))
        if skip < samples:
            rng = np.random.default_rng((SAMPLE_ORDER, seed, epoch, part))
            for place, (shard, number, last) in enumerate(_interleaved(drawn, rng)):
                yield Position(epoch, shard, number, last, skipped=place < skip)
        skip = max(0, skip - samples)


def _drawn(
    samples: int, shard: int, seed: int, epoch: int, chances: Sequence[np.ndarray] | None
) -> Sequence[int] | np.ndarray:
    """The numbers of a shard's samples that come in an epoch, in order."""
    if chances is None:
        return range(samples)
    return np.flatnonzero(np.random.default_rng((CHOICE, seed, epoch, shard)).random(samples) < chances[shard])


def _interleaved(
    drawn: Mapping[int, Sequence[int] | np.ndarray], rng: np.random.Generator
) -> Iterator[tuple[int, int, bool]]:
    """(shard, number, is its last) of every sample drawn: of the open shards, the longest unused half is drawn from.

    So a shard rests for at least half as many draws as shards are open.
    """
    opened = ((shard, _shuffled(numbers, rng)) for shard, numbers in drawn.items() if len(numbers))
    resting = list(islice(opened, OPEN_SHARDS))  # the longest unused first
    while resting:
        shard, numbers = resting.pop(rng.integers((len(resting) + 1) // 2))
        yield shard, numbers.popleft(), not numbers
        resting.extend([(shard, numbers)] if numbers else islice(opened, 1))


def _shuffled(numbers: Sequence[int] | np.ndarray, rng: np.random.Generator) -> deque[int]:
    """The numbers, each drawn from a window that slides over them."""
    window: list[int] = []
    order: deque[int] = deque()
    for number in numbers:
        window.append(int(number))
        if len(window) == WINDOW:
            order.append(window.pop(rng.integers(WINDOW)))
    order.extend(rng.permutation(window).tolist())
    return order


def _augmented(
    file: ShardFile, number: int, transform: PairTransform, rng: np.random.Generator, evidence: bool
) -> tuple[Any, ...]:
    """Key, augmented pair and, where asked for, maps of a sample; UserError names its shard and key."""
    key, *pair = file.read(number)
    pngs = file.read_maps(number) if evidence else ()
    try:
        first, second = map(decode_jpeg, pair)
        return key, *transform(first, second, rng, [decode_map(png) for png in pngs])
    except ValueError as error:
        raise damaged(file.path, f"sample {key}: {first_line(error)}") from None
