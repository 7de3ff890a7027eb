"""Sharding, against raw sequential decoding plus JPEG encoding on one core; its memory; growth with videos and workers.

The limit decodes with the faster raw decoder at that size, resizes while decoding, and encodes every frame once.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import simplejpeg

from amd.config import Ingest, Shard
from amd.config.profiles import load_profile
from amd.data.ingest.manifest import ingest
from amd.data.pairs.evidence import EvidenceSource
from amd.data.pairs.pack import SUBSAMPLING
from amd.data.pairs.write import write_shards
from amd.data.video.decode import fit_size
from benchmarks.clips import clip
from benchmarks.decoding import fastest_raw, raw_decoders
from benchmarks.measure import Row, Seconds, Setting, compared, compared_memory, in_turn, one_core, peak_mb

SHARE = 0.85  # of the limit, on one core
FLAT = 0.9  # of the long or large video's memory that the short or small one takes
INGEST = Ingest(workers=1, max_pixels=10**8, max_hours=1.0)

Size = tuple[int, int, int]  # frames, height, width

MEMORY_SIZES: tuple[Size, ...] = ((96, 360, 640), (960, 360, 640), (96, 1080, 1920))


def measure(setting: Setting) -> Iterator[Row]:
    """One core's share of the limit, growth with videos and workers, and memory."""
    size, short_edge, videos = ((6, 64, 96), 40, 2) if setting.quick else ((96, 720, 1280), 480, 6)
    shard = load_profile("paper").shard.model_copy(update={"short_edge": short_edge, "workers": 1, "min_change": 0.0})
    path = clip(setting.scratch / f"{'x'.join(map(str, size))}.mp4", *size)
    raw = raw_decoders(path, *fit_size(size[2], size[1], short_edge))
    calls = {
        "ours": on_one_core(sharding(setting.scratch, path, videos, shard)),
        "1 video": on_one_core(sharding(setting.scratch, path, 1, shard)),
        "2 workers": sharding(setting.scratch, path, videos, shard.model_copy(update={"workers": 2})),
    }
    for name, decode in raw.items():
        calls[name] = on_one_core(partial(decode_and_encode, decode, shard.quality, videos))
    times = in_turn(setting, calls, 45, 2, warm_up=False)
    case = f"{videos} videos of {size[0]} frames, {size[2]}x{size[1]} to {short_edge}"
    yield from speed(times, case, size[0], videos)
    yield from memory(setting, shard)


def on_one_core(call: Callable[[], int]) -> Callable[[], int]:
    """The call with one core for all its processes and threads."""

    def run() -> int:
        with one_core():
            return call()

    return run


def sharding(
    scratch: Path, path: Path, videos: int, shard: Shard, evidence: EvidenceSource | None = None
) -> Callable[[], int]:
    """Sharding into a fresh folder each time, the processes' start included; the videos are one under many names."""
    (row,) = ingest(path, INGEST, shard)
    rows = [row | {"video_id": f"{row['video_id']}-{number}"} for number in range(videos)]
    folders = (scratch / f"shards-{videos}-{shard.workers}-{number}" for number in count())

    def run() -> int:
        folder = next(folders)
        pairs = write_shards(rows, folder, shard, evidence)
        shutil.rmtree(folder)
        return pairs

    return run


def decode_and_encode(decode: Callable[[], Iterator[np.ndarray]], quality: int, videos: int) -> int:
    """The limit; the bytes that it made."""
    return sum(
        len(simplejpeg.encode_jpeg(image, quality, colorsubsampling=SUBSAMPLING))
        for _ in range(videos)
        for image in decode()
    )


def speed(times: Seconds, case: str, frames: int, videos: int) -> Iterator[Row]:
    """What the times of one measurement say."""
    best = fastest_raw(times)
    all_frames = {"items": videos * frames, "item": "frames"}
    against = {"against": f"raw {best} and JPEG encoding, 1 core", "target": SHARE}
    yield compared(f"{case}, 1 worker, 1 core", times, "ours", best, **against, **all_frames)
    against = {"against": "1 video, in proportion", "work": videos}
    yield compared(f"{videos} videos, 1 worker, 1 core", times, "ours", "1 video", **against, **all_frames)
    case = f"{videos} videos, 2 workers"
    yield compared(case, times, "2 workers", "ours", against="1 worker, 1 core", **all_frames)


def memory(setting: Setting, shard: Shard) -> Iterator[Row]:
    """Peak memory of the largest process, for a longer and for a larger video."""
    sizes = ((4, 64, 96), (12, 64, 96)) if setting.quick else MEMORY_SIZES
    paths = [clip(setting.scratch / f"{'x'.join(map(str, size))}.mp4", *size) for size in sizes]
    base, *peaks = (peak_mb(shard_alone, setting.scratch, path, shard) for path in paths)
    named = [f"{frames} frames of {width}x{height}" for frames, height, width in sizes]
    for peak, case in zip(peaks, named[1:], strict=True):
        yield compared_memory(f"{case}, peak memory", peak, base, named[0], FLAT)


def shard_alone(scratch: Path, path: Path, shard: Shard) -> None:
    """Shard one video with one worker."""
    sharding(scratch, path, 1, shard)()
