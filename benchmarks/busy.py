"""`amd segment` beside a process that takes a core and more: threads as the command chooses them, all, and one.

Each is the whole command, its start and its files included.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.clips import clip
from benchmarks.measure import Row, Setting, compared, in_turn

SIZE = (24, 144, 256)  # frames, height, width
CHOSEN, ONE = "as it chooses", "one thread"
AS_GOOD_AS_ONE = 0.8  # times the speed of one thread, whatever else is at work
OTHER = "import torch; a = torch.rand(1500, 1500)\nwhile True: a @ a"  # on as many threads as it likes


def measure(setting: Setting) -> Iterator[Row]:
    """Every choice of threads against one thread."""
    frames, height, width = (3, 48, 64) if setting.quick else SIZE
    path = clip(setting.scratch / "busy.mp4", frames, height, width)
    cores = psutil.cpu_count() or 1
    choices = {CHOSEN: None, ONE: 1, f"{cores} threads": cores}
    calls = {name: partial(segment, path, setting.scratch, threads) for name, threads in choices.items()}
    with busy_process():
        times = in_turn(setting, calls, 60)
    for name in choices:
        target = AS_GOOD_AS_ONE if name == CHOSEN else None
        case = f"amd segment --method motion beside a busy process, {name}"
        yield compared(case, times, name, ONE, against=ONE, items=frames, item="frames", target=target)


@contextmanager
def busy_process() -> Iterator[None]:
    """Another program at work for as long as the body runs."""
    other = subprocess.Popen([sys.executable, "-c", OTHER])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def segment(path: Path, scratch: Path, threads: int | None) -> None:
    """The command on a clip, into a folder where nothing is done yet."""
    words = ["--method", "motion", *(["--threads", str(threads)] if threads else [])]
    out = scratch / f"out-{len(list(scratch.glob('out-*')))}"
    command = [sys.executable, "-m", "amd.cli", "segment", str(path), "--out", str(out), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
