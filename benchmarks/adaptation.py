"""Adaptation of one video, 100 iterations of the quickstart's, against its training steps alone; several videos.

In this process, and as a fan-out does a video: the start of its program, loading and masks included.
On a GPU also the papers' network on 50 frames with 16 pairs an iteration.
"""

import math
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch

from amd.config import Adapt
from amd.config.profiles import DEFAULTS, load_profile
from amd.data.benchmarks.davis import open_benchmark
from amd.data.images import read_image
from amd.data.synthetic.clips import make_corpus
from amd.models.amd import AMD
from amd.models.evidence import load_evidence
from amd.models.inference import soft_masks
from amd.models.precision import fastest_precision
from amd.motion.evidence import motion_evidence
from amd.motion.parallax import Parallax
from amd.motion.per_image import SHORT_EDGE, PerImage
from amd.runtime.processes import Programs
from amd.training.adaptation import adapt, clip_of, pairs_apart
from amd.training.losses import view_synthesis_loss
from benchmarks.clips import frames
from benchmarks.limits import name
from benchmarks.measure import Row, Setting, compared, goal, in_turn
from benchmarks.workloads import architecture, checkpoint, floats, pairs, sane_model

STEPS_SHARE = 0.95  # of the time is in training steps
TWO_AT_ONCE = 1.8  # times one after the other, on two cores
GPU_SECONDS = 10.0

CLIP = (32, 144, 256)  # frames, height, width: the quickstart's
CLIPS = ["clip-0000", "clip-0001"]


def measure(setting: Setting) -> Iterator[Row]:
    """Rows in this process, then of programs."""
    settings, size = load_profile("quickstart").adapt, CLIP
    if setting.quick:
        settings, size = settings.model_copy(update={"iterations": 2, "batch_size": 1, "crop": 48}), (4, 72, 128)
    model = sane_model(architecture("quickstart", setting.quick)).to(setting.device)
    with threads(settings.threads):
        yield steps_row(setting, model, settings, frames(*size))
        yield from growth_with_frames(setting, model, settings, size)
        if not setting.quick:
            yield from program_rows(setting, model, settings)
    if setting.device.type == "cuda":
        yield gpu_row(setting)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """torch on `number` threads, as a fan-out's program has."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def adapt_to(model: AMD, images: list[np.ndarray], settings: Adapt) -> AMD:
    """A copy of `model` adapted to a video's frames."""
    return adapt(model, clip_of(images, pairs_apart(len(images), settings.gap), settings.short_edge), settings)


def steps_row(setting: Setting, model: AMD, settings: Adapt, images: np.ndarray) -> Row:
    """`adapt` against as many training steps on a batch that lies ready."""
    some = max(1, settings.iterations // 4)
    calls = {"adapt": partial(adapt_to, model, list(images), settings), "steps": training_steps(model, settings, some)}
    times = in_turn(setting, calls, 30, 2, warm_up=False)
    how = f"{name(fastest_precision(settings.precision, setting.device))}, {settings.threads} thread"
    case = f"small network, {settings.iterations} iterations of {settings.batch_size} pairs, {how}"
    counted = {"items": settings.iterations, "item": "iterations", "target": STEPS_SHARE}
    against = "its training steps alone, in proportion"
    return compared(case, times, "adapt", "steps", work=settings.iterations / some, against=against, **counted)


def training_steps(model: AMD, settings: Adapt, number: int) -> Callable[[], None]:
    """A function that makes `number` of adaptation's training steps and nothing else."""
    device = next(model.parameters()).device
    model = sane_model(model.architecture).to(device)
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate)
    precision = fastest_precision(settings.precision, device)
    first, second = floats(pairs(settings.batch_size, settings.crop), device)

    def run() -> None:
        for _ in range(number):
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                output = model(first, second)
            loss = view_synthesis_loss(output, first, second)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return run


def growth_with_frames(setting: Setting, model: AMD, settings: Adapt, size: tuple[int, int, int]) -> Iterator[Row]:
    """As many iterations on four times the frames take as long, but for the frames' own handling."""
    number, height, width = size
    settings = settings.model_copy(update={"iterations": min(20, settings.iterations)})
    clips = {n: list(frames(n, height, width)) for n in (number, 4 * number)}
    times = in_turn(setting, {str(n): partial(adapt_to, model, clip, settings) for n, clip in clips.items()}, 15, 2)
    case = f"{settings.iterations} iterations on {4 * number} frames"
    against = f"{settings.iterations} iterations on {number} frames"
    yield compared(case, times, str(4 * number), str(number), against=against)


def program_rows(setting: Setting, model: AMD, settings: Adapt) -> Iterator[Row]:
    """A video of a fan-out, and two at once."""
    from flows.programs.adapt_video import segment_moving  # here: Prefect takes seconds to import
    from flows.runners import GRACE_S, PROGRAM

    corpus = load_profile("quickstart").corpus
    root = setting.scratch / "corpus"
    make_corpus(root, corpus.model_copy(update={"train_clips": 1, "heldout_clips": 2}))
    checkpoint(setting.scratch / "model.safetensors", model)
    sequence, params = open_benchmark("builtin-clips", root / "heldout")[0], load_profile("quickstart")
    images = [read_image(frame.image) for frame in sequence.frames]

    def work() -> None:
        adapt_to(model, images, settings)
        for image in images:
            soft_masks(model, torch.from_numpy(image), None)
        parallax = Parallax()
        moves = list(motion_evidence(images, *load_evidence(), threads=settings.threads, parallax=parallax))
        per_image = PerImage(model, 0, params.predict.short_edge or SHORT_EDGE)
        segment_moving(sequence, images, moves, parallax, per_image, params.fused, setting.scratch / "work")

    runs = count()
    with Programs(GRACE_S, PROGRAM) as programs:
        begin = lambda number: run_programs(programs, setting.scratch, CLIPS[:number], next(runs))
        begin(1)  # imports what the others are forked with, once a fan-out
        calls = {"work": work, "one": partial(begin, 1), "two": partial(begin, 2)}
        times = in_turn(setting, calls, 60, 1, warm_up=False)
    case = f"a video of a fan-out, {settings.iterations} iterations and masks"
    against = "the same in a process that runs already"
    yield compared(case, times, "one", "work", against=against, items=1, item="videos", target=STEPS_SHARE)
    counted = {"items": 2, "item": "videos", "target": TWO_AT_ONCE}
    case, against = "2 videos at once, 1 thread each", "one after the other"
    yield compared(case, times, "two", "one", work=2, against=against, **counted)


def run_programs(programs: Programs, scratch: Path, sequences: list[str], run: int) -> None:
    """Every sequence at once, as flows.adapt does them."""
    from flows.runners import command, devices, share

    place = {"dataset": "builtin-clips", "model": scratch / "model.safetensors", "root": scratch / "corpus/heldout"}
    place |= {"out": scratch / f"adapted-{run}", "params": DEFAULTS}

    def begin(sequence: str) -> int:
        words = command("adapt_video", {"sequence": sequence} | {key: str(value) for key, value in place.items()})
        with (scratch / f"{sequence}.log").open("a") as log:
            options = {"stdout": log, "stderr": subprocess.STDOUT, "env": share(0, 1, devices()), "cwd": Path.cwd()}
            return programs.run(words, math.inf, **options)

    with ThreadPoolExecutor(len(sequences)) as pool:
        if any(pool.map(begin, sequences)):
            raise RuntimeError("a video's program failed")


def gpu_row(setting: Setting) -> Row:
    """The papers' network on 50 frames of 480p, 100 iterations of 16 pairs, in the fastest precision."""
    settings = load_profile("paper").adapt.model_copy(update={"batch_size": 16, "precision": "auto"})
    model = sane_model(architecture("ResNet-50")).to(setting.device)
    clip = list(frames(50, 480, 854))
    times = in_turn(setting, {"adapt": partial(adapt_to, model, clip, settings)}, 40, 2, warm_up=False)
    case = f"ResNet-50, 50 frames of 854x480, {settings.iterations} iterations of {settings.batch_size} pairs"
    return goal(case, times["adapt"], GPU_SECONDS, items=settings.iterations, item="iterations")
