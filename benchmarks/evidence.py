"""Sharding with motion evidence, against what it consists of, one after the other, on one core.

The limit decodes with PyAV at the size of the flow, searches both flows of every two frames with OpenCV, runs the
network's convolutions, and encodes every frame as JPEG.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import simplejpeg
import torch

from amd.config import Shard
from amd.config.profiles import load_profile
from amd.data.pairs.pack import SUBSAMPLING
from amd.data.video.decode import fit_size
from amd.models.evidence import load_evidence
from amd.motion.dense import grey_frame, grid_size
from amd.motion.evidence import BATCH, flow_settings
from amd.motion.source import MotionSource
from amd.runtime.processes import limit_threads
from benchmarks.clip import convolutions, searches
from benchmarks.clips import clip
from benchmarks.decoding import raw_decoders
from benchmarks.measure import Row, Setting, compared, in_turn
from benchmarks.sharding import on_one_core, sharding

SIZE = (96, 480, 854)  # frames, height, width
QUICK = (6, 64, 96)
SHARE = 0.8  # of the limit, the start of a process included


def measure(setting: Setting) -> Iterator[Row]:
    """One video, with one worker."""
    number, height, width = QUICK if setting.quick else SIZE
    shard = load_profile("own").shard.model_copy(update={"workers": 1, "min_change": 0.0})
    path = clip(setting.scratch / f"{number}x{height}x{width}.mp4", number, height, width)
    ours = on_one_core(sharding(setting.scratch, path, 1, shard, MotionSource()))
    with one_thread():
        limit = on_one_core(parts(path, (number, height, width), shard))
        times = in_turn(setting, {"ours": ours, "limit": limit}, 0, 2, warm_up=False)
    case = f"{number} frames of {width}x{height} to {shard.short_edge}, 1 worker, 1 core"
    against = "raw PyAV, OpenCV's flow, convolutions and JPEG encoding, 1 core"
    yield compared(case, times, "ours", "limit", against=against, items=number, item="frames", target=SHARE)


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV and torch in one thread, as in a worker."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    limit_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def parts(path: Path, size: tuple[int, int, int], shard: Shard) -> Callable[[], int]:
    """The limit; the bytes of its JPEGs."""
    number, height, width = size
    network, info = load_evidence()
    flow = flow_settings(info)
    decode = raw_decoders(path, *fit_size(width, height, flow.short_edge))["PyAV"]
    channels, grid = info.architecture.channels, grid_size(height, width, flow.grid)
    network_alone = convolutions(network, torch.rand(BATCH, channels, *grid))

    @torch.no_grad()
    def run() -> int:
        images = list(decode())
        searches([grey_frame(image, flow.short_edge) for image in images], flow.finest_scale, 1)
        for _ in range(-(-number // BATCH)):
            network_alone()
        small = fit_size(width, height, shard.short_edge)
        shrunk = (cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in images)
        return sum(len(simplejpeg.encode_jpeg(image, shard.quality, colorsubsampling=SUBSAMPLING)) for image in shrunk)

    return run
