"""The training reader against raw JPEG decoding of the same pairs, and how long a training step waits for it.

Reading is decoding, resizing, cropping, flipping and stacking; the limit is simplejpeg alone, on one core.
"""

import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch

from amd.config import Pretrain, Shard
from amd.config.profiles import load_profile
from amd.data.ingest.manifest import ingest
from amd.data.pairs.read import PairReader
from amd.data.pairs.transforms import PairTransform
from amd.data.pairs.write import write_shards
from amd.models.amd import AMD
from amd.models.precision import fastest_precision
from amd.training.distributed import Process
from amd.training.loop import train
from amd.training.pretrain import PairObjective, open_reader
from amd.training.task import train_settings
from benchmarks.clips import clip
from benchmarks.limits import name
from benchmarks.measure import Row, Setting, compared, in_turn
from benchmarks.sharding import INGEST
from benchmarks.workloads import architecture

SHARE = 0.85  # of raw JPEG decoding, on one core
AT_WORK = 0.98  # of the training's time: it waits for less than 2 %
PAIRS = 128  # read in one measurement


def measure(setting: Setting) -> Iterator[Row]:
    """Both profiles' readers, data workers, and the wait of a training."""
    small = shards(setting, "small", (8, 64, 96) if setting.quick else (96, 144, 256), load_profile("quickstart").shard)
    yield reader_row(setting, "quickstart", small, load_profile("quickstart").pretrain)
    yield from growth_with_readers(setting, small)
    yield waiting_row(setting, "quickstart", small, load_profile("quickstart").pretrain)
    if not setting.quick:
        large, settings = shards(setting, "large", (48, 720, 1280), load_profile("paper").shard), papers_settings()
        yield reader_row(setting, "paper", large, settings)
        if setting.device.type == "cuda":
            yield waiting_row(setting, "ResNet-50", large, settings)


def papers_settings() -> Pretrain:
    """The papers' pretraining with a GPU's batch, in the fastest precision."""
    return load_profile("paper").pretrain.model_copy(update={"batch_size": 16, "precision": "auto"})


def shards(setting: Setting, title: str, size: tuple[int, int, int], shard: Shard) -> Path:
    """The index of shards of four equal clips."""
    path = clip(setting.scratch / f"{'x'.join(map(str, size))}.mp4", *size)
    shard = shard.model_copy(update={"workers": 1, "min_change": 0.0})
    (row,) = ingest(path, INGEST, shard)
    folder = setting.scratch / f"shards-{title}"
    write_shards([row | {"video_id": f"clip-{number}"} for number in range(4)], folder, shard)
    return folder / "index.parquet"


def reader_row(setting: Setting, profile: str, index: Path, settings: Pretrain) -> Row:
    """Batches read in this process, against decoding as many JPEGs."""
    transform = transform_of(settings, setting.quick)
    batches = 2 if setting.quick else PAIRS // settings.batch_size
    reader = PairReader(index, transform, batch_size=settings.batch_size, seed=0)
    jpegs = cycle(jpegs_of(index))
    pairs = batches * settings.batch_size
    calls = {
        "reader": lambda: [next(reader) for _ in range(batches)],
        "raw": lambda: [simplejpeg.decode_jpeg(jpeg) for jpeg in islice(jpegs, 2 * pairs)],
    }
    with one_opencv_thread():
        times = in_turn(setting, calls, 10, 5)
    case = f"{profile}: {settings.batch_size} pairs a batch, crop {transform.crop}"
    against = "raw JPEG decoding, 1 core"
    return compared(case, times, "reader", "raw", against=against, items=pairs, item="pairs", target=SHARE)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """As in a data process."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def transform_of(settings: Pretrain, quick: bool) -> PairTransform:
    """A profile's augmentation; `quick` for frames of short edge 64."""
    if quick:
        return PairTransform(50, 1.0, 48)
    return PairTransform(settings.short_edge, settings.min_ratio, settings.crop)


def jpegs_of(index: Path) -> list[bytes]:
    """Every JPEG in the shards beside an index."""
    found = []
    for path in sorted(index.parent.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]
    return found


def growth_with_readers(setting: Setting, index: Path) -> Iterator[Row]:
    """Batches from one data process and from two, once they run."""
    settings, numbers = load_profile("quickstart").pretrain, (1, 2)
    batches = 2 if setting.quick else 20 * PAIRS // settings.batch_size
    transform = transform_of(settings, setting.quick)
    times = {}
    for workers in numbers:
        reader = PairReader(index, transform, batch_size=settings.batch_size, seed=0, workers=workers)
        take = lambda reader=reader: [next(reader) for _ in range(batches)]
        times |= in_turn(setting, {str(workers): take}, 0, 3)  # by itself: both would share the cores
    case = f"quickstart: {numbers[1]} data processes"
    pairs = batches * settings.batch_size
    yield compared(case, times, "2", "1", against="1 data process", items=pairs, item="pairs")


def waiting_row(setting: Setting, network: str, index: Path, settings: Pretrain) -> Row:
    """A training's time, against its time without the wait for data."""
    changes = {"iterations": 2, "log_every": 1, "crop": 48, "short_edge": 50, "min_ratio": 1.0, "batch_size": 1}
    changes = changes if setting.quick else {"iterations": 40, "log_every": 5}
    settings = settings.model_copy(update=changes | {"checkpoint_every": changes["iterations"], "learning_rate": 1e-5})
    process = Process(0, 1, setting.device)
    objective = PairObjective(AMD(architecture(network, setting.quick)).to(setting.device))
    optimiser = torch.optim.Adam(objective.parameters(), settings.learning_rate, fused=True)
    state = Path(tempfile.mkdtemp(dir=setting.scratch)) / "state.safetensors"
    batches: Callable[[int], PairReader] = lambda start: open_reader(settings, index, process, start)
    how = train_settings(settings, settings.seed, setting.device)
    history = train(objective, optimiser, batches, how, process, state).history
    steady = history[1:]  # the first row holds the start
    total = np.array([1 / row["iterations_per_s"] for row in steady])
    busy = total * np.array([1 - row["data_wait_share"] for row in steady])
    how = f"{settings.num_workers} data processes, {name(fastest_precision(settings.precision, setting.device))}"
    case = f"training of the {network} network, {settings.batch_size} pairs, {how}"
    counted = {"items": settings.batch_size, "item": "pairs", "target": AT_WORK}
    against = "the same without its wait for data"
    return compared(case, {"training": total, "busy": busy}, "training", "busy", against=against, **counted)
