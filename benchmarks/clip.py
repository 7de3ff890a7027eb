"""A clip to its masks by what moves: every phase against its own limit in the same run, then `amd segment` as a whole.

The whole is a cold start. It stands against a goal in seconds, against the limits of its phases, one after the other,
and against all cores busy all the time.
"""

import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from amd.config.fused import Fused
from amd.data.images import write_mask
from amd.data.sizes import small_size
from amd.data.video.decode import Source, read_frames
from amd.inference.fusion import Opinion, fuse
from amd.models.evidence import load_evidence
from amd.motion.dense import grey_frame, neighbour_flows
from amd.motion.evidence import BATCH, flow_settings
from amd.motion.inputs import network_input
from amd.motion.per_image import packaged_per_image
from amd.motion.spool import Spool
from amd.runtime.ahead import map_ahead
from benchmarks.clips import clip
from benchmarks.decoding import exhaust, ours, raw_decoders
from benchmarks.measure import Row, Setting, Spread, compared, goal, in_turn

SIZE = (80, 480, 854)  # frames, height, width
QUICK = (6, 64, 96)
GOALS = {"motion": 15.0, "fused": 45.0}  # seconds on two cores
OF_LIMITS, BUSY = 0.7, 0.85
START = "from amd.inference import inputs, moving; moving.load_evidence()"

Call = Callable[[], object]


@dataclass(frozen=True)
class Phase:
    """A part of the way, what does its core and nothing else, and how often each method goes through it."""

    case: str
    call: Call
    limit: Call
    against: str
    motion: float = 1.0
    fused: float = 1.0


def measure(setting: Setting) -> Iterator[Row]:
    """The phases, then the methods."""
    number, height, width = QUICK if setting.quick else SIZE
    path = clip(setting.scratch / f"{number}x{height}x{width}.mp4", number, height, width)
    limits = dict.fromkeys(GOALS, 0.0)
    with Spool() as moves:
        for phase in phases(setting, path, moves):
            times = in_turn(setting, {"ours": phase.call, "limit": phase.limit}, 10, 1, warm_up=not setting.quick)
            case = f"{phase.case}, {number} frames of {width}x{height}"
            yield compared(case, times, "ours", "limit", against=phase.against)
            for method in limits:
                limits[method] += getattr(phase, method) * float(np.median(times["limit"]))
    for method, wanted in list(GOALS.items())[-1 if setting.quick else 0 :]:
        yield from whole(setting, path, method, wanted, limits[method])


def phases(setting: Setting, path: Path, moves: Spool) -> Iterator[Phase]:
    """Each is made when the one before was measured; `moves` is filled on the way."""
    cores, settings = len(os.sched_getaffinity(0)), Fused()
    height, width = QUICK[1:] if setting.quick else SIZE[1:]
    yield Phase("start", program(START), program("import torch, cv2, av"), "libraries alone")
    decode = partial(exhaust, raw_decoders(path, width, height)["PyAV"])
    yield Phase("decode", partial(exhaust, partial(ours, path, None)), decode, "raw PyAV, 1 thread", 2, 2)
    images = [frame.image for frame in read_frames(Source("clip", path))]
    network, info = load_evidence(device=setting.device)
    flow = flow_settings(info)
    greys = [grey_frame(image, flow.short_edge) for image in images]
    estimate = lambda: list(neighbour_flows(images, flow, cores))
    yield Phase("flow", estimate, partial(searches, greys, flow.finest_scale, cores), f"OpenCV alone, {cores} threads")
    flows = torch.from_numpy(np.stack([entry.flows for entry in estimate()])).to(setting.device)
    batches = flows.split(BATCH)
    said = lambda: [network(network_input(batch, info.degree)).sigmoid().cpu() for batch in batches]
    alone = convolutions(network, network_input(batches[0], info.degree))
    yield Phase("evidence", no_grad(said), no_grad(lambda: [alone() for _ in batches]), "its convolutions alone")
    for batch in no_grad(said)():
        for values in batch.numpy():
            moves.add(values)
    yield single_images(setting, images)
    evidence = [[(1.0, moves[number])] for number in range(len(images))]
    yield fusion(images, evidence, settings, cores)
    masks = [said[0][1] > 0.5 for said in evidence]
    masks = [cv2.resize(mask.astype(np.uint8), (width, height)) > 0 for mask in masks]
    yield Phase("writing", partial(written, masks, setting.scratch), partial(encoded, masks), "raw PNG encoding")


def single_images(setting: Setting, images: list[np.ndarray]) -> Phase:
    """What the packaged model of single images says of every frame; the limit is its convolutions."""
    photos = packaged_per_image(setting.device.type)
    size = small_size(images[0].shape, photos.short_edge)
    each = convolutions(photos.model.appearance, torch.rand(2, 3, *size, device=setting.device))
    alone = no_grad(lambda: [each() for _ in images])
    return Phase("single images", lambda: list(map(photos.probability, images)), alone, "its convolutions alone", 0)


def fusion(images: list[np.ndarray], said: Sequence[list[Opinion]], settings: Fused, cores: int) -> Phase:
    """Masks smoothed in threads; the limit is a core's share of them, in one thread."""
    work = list(zip(said, images, strict=True))
    join = lambda each: fuse(*each, settings)
    share = work[: max(1, len(work) // cores)]
    return Phase(
        "fusion", lambda: list(map_ahead(join, work, cores)), lambda: list(map(join, share)), "a core's share alone"
    )


def program(text: str) -> Call:
    """Python with `text`, from its start to its end."""
    return partial(subprocess.run, [sys.executable, "-c", text], check=True)


def searches(greys: list[np.ndarray], finest_scale: int, cores: int) -> None:
    """Both flows of every two frames, by OpenCV in threads that share nothing."""

    def run(some: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setFinestScale(finest_scale)
        for first, second in some:
            search.calc(first, second, None)

    both = [pair for first, second in pairwise(greys) for pair in ((first, second), (second, first))]
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, (both[core::cores] for core in range(cores))))


def convolutions(model: nn.Module, *inputs: Tensor) -> Call:
    """All convolutions of a pass of `model` over `inputs`, one after the other."""
    seen: list[tuple[nn.Module, Tensor]] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(lambda layer, given, _: seen.append((layer, given[0]))) for layer in layers]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    kept = [(layer, given.detach().clone()) for layer, given in seen]

    def run() -> None:
        for layer, given in kept:
            layer(given)

    return run


def no_grad(call: Callable[[], list]) -> Callable[[], list]:
    """The call without gradients."""
    return torch.no_grad()(call)


def written(masks: list[np.ndarray], scratch: Path) -> None:
    """Masks as files, in a fresh folder."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for number, mask in enumerate(masks):
            write_mask(Path(folder) / f"{number:06d}.png", mask)


def encoded(masks: list[np.ndarray]) -> None:
    """Masks as PNG in memory."""
    for mask in masks:
        Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(io.BytesIO(), "PNG")


def whole(setting: Setting, path: Path, method: str, wanted: float, limits: float) -> Iterator[Row]:
    """The command: seconds, its share of the summed limits, and how busy the cores are."""
    cores = len(os.sched_getaffinity(0))
    walls, shares = [], []
    for _ in range(1 if setting.quick else 2):
        began, spent = time.perf_counter(), children_cpu()
        with tempfile.TemporaryDirectory(dir=setting.scratch) as out:
            words = ["segment", path, "--method", method, "--out", out, "--threads", cores, "--device", setting.device]
            subprocess.run([sys.executable, "-m", "amd.cli", *map(str, words)], check=True, capture_output=True)
        walls.append(time.perf_counter() - began)
        shares.append((children_cpu() - spent) / walls[-1] / cores)
    case = f"amd segment --method {method}"
    yield goal(case, walls, wanted)
    times = {"ours": np.array(walls), "limits": np.full(len(walls), limits)}
    yield compared(case, times, "ours", "limits", against="limits of its phases, summed", target=OF_LIMITS)
    busy = Spread.of(shares)
    yield Row(case, Spread.of(walls), "s", against=f"{cores} cores all busy", ratio=busy, target=BUSY)


def children_cpu() -> float:
    """Seconds of CPU that ended children took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
