"""How things are measured: calls in turn, so that drift hits all of them; peak memory, each in a process of its own.

Input: functions without arguments. Output: spreads of seconds, and rows that set one measurement against another.
A ratio is always "times better": above 1, ours takes less time or memory than what it stands against.
"""

import io
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from amd.runtime.processes import keep_freed_memory

if TYPE_CHECKING:
    import torch  # not loaded here: processes whose memory is measured may do without it

MOST_ROUNDS = 40
SETTLED = 0.02  # of the median: an interquartile range below it needs no further rounds


@dataclass(frozen=True)
class Setting:
    """What a subject is told: `quick` is for tests alone, at sizes that say nothing about speed."""

    quick: bool
    device: "torch.device"
    scratch: Path  # an empty folder for files


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    lower: float
    upper: float
    repeats: int

    @classmethod
    def of(cls, values: np.ndarray | list[float]) -> "Spread":
        """The spread of `values`."""
        lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        return cls(median, lower, upper, len(values))


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, and how many times better it is than what it stands against."""

    case: str
    measured: Spread
    unit: str  # of `measured`: s, MB, or none
    items: float = 0  # handled in one measurement; 0: nothing to count
    item: str = ""  # what is counted, in the plural
    against: str = ""
    other: Spread | None = None  # in the same unit
    ratio: Spread | None = None
    target: float | None = None  # least ratio
    subject: str = ""  # the module that measured it, which the program knows

    @property
    def rate(self) -> float | None:
        """Items a second, where items were counted."""
        return self.items / self.measured.median if self.items else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None or self.ratio is None else self.ratio.median >= self.target

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"rate": self.rate, "met": self.met}


Seconds = dict[str, np.ndarray]  # of calls by name, a value per round


def in_turn(
    setting: Setting, calls: Mapping[str, Callable[[], Any]], budget_s: float, least: int = 3, *, warm_up: bool = True
) -> Seconds:
    """Seconds of every call, a value per round: after a warm-up, all calls are made in turn, round after round.

    At least `least` rounds are made, and more until every spread is small or `budget_s` are spent; one when quick.
    """
    for call in calls.values() if warm_up else ():
        call()
    most = 1 if setting.quick else MOST_ROUNDS
    began = time.perf_counter()
    rounds: list[list[float]] = []
    while len(rounds) < min(least, most) or (
        len(rounds) < most and time.perf_counter() - began < budget_s and not _settled(np.array(rounds))
    ):
        rounds.append([seconds(call) for call in calls.values()])
    return dict(zip(calls, np.array(rounds).T, strict=True))


def seconds(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, work queued on a GPU included."""
    _synchronise()
    began = time.perf_counter()
    call()
    _synchronise()
    return time.perf_counter() - began


@contextmanager
def one_core() -> Iterator[None]:
    """This process and those that it starts share one core; a decoder's own thread would take a second one."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _settled(rounds: np.ndarray) -> bool:
    lower, median, upper = np.quantile(rounds, (0.25, 0.5, 0.75), axis=0)
    return len(rounds) >= 5 and bool(((upper - lower) < SETTLED * median).all())


def _synchronise() -> None:
    if cuda := _cuda_in_use():
        cuda.synchronize()


def _cuda_in_use() -> ModuleType | None:
    """torch.cuda where this process computes on a GPU."""
    loaded = sys.modules.get("torch")
    return loaded.cuda if loaded is not None and loaded.cuda.is_initialized() else None


def compared(case: str, times: Seconds, ours: str, other: str, *, work: float = 1.0, **more: Any) -> Row:
    """A row of `ours` against `other`, both of one `in_turn`; `work` is how much more work ours does."""
    spreads = {"other": Spread.of(times[other]), "ratio": Spread.of(work * times[other] / times[ours])}
    return Row(case, Spread.of(times[ours]), **({"unit": "s", "against": other} | spreads | more))


def goal(case: str, values: np.ndarray | list[float], wanted: float, **more: Any) -> Row:
    """A row of `values` against the most that they should be."""
    times = {"ours": np.array(values), "goal": np.full(len(values), wanted)}
    return compared(case, times, "ours", "goal", target=1.0, **more)


def growth(case: str, times: Seconds, unit: str) -> Iterator[Row]:
    """Rows of times that grew with a size, each against the smallest size in proportion; {size} stands in `case`."""
    smallest = min(times, key=int)
    for size in sorted(times.keys() - {smallest}, key=int):
        counted = {"against": f"{smallest} {unit}, in proportion", "items": int(size), "item": unit}
        yield compared(case.format(size=size), times, size, smallest, work=int(size) / int(smallest), **counted)


def compared_memory(case: str, ours: float, other: float, against: str, target: float | None) -> Row:
    """A row of peak memory in MB against another."""
    times = {"ours": np.array([ours]), "other": np.array([other])}
    return compared(case, times, "ours", "other", unit="MB", against=against, target=target)


def peak_mb(function: Callable[..., Any], *arguments: Any) -> float:
    """Peak memory in MB of `function(*arguments)`, a function of a module, in a fresh process.

    On a GPU that is what torch allocated on it; else the largest resident size of the process, or of its children
    where one of those is larger.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(_peak_mb, function, *arguments).result()


def _peak_mb(function: Callable[..., Any], *arguments: Any) -> float:
    import resource  # not on Windows

    keep_freed_memory()
    with redirect_stderr(io.StringIO()):  # progress lines
        function(*arguments)
    if cuda := _cuda_in_use():
        return cuda.max_memory_allocated() / 2**20
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return max(high_water_mark_mb(), children)


def high_water_mark_mb() -> float:
    """This process's largest resident size. getrusage's own figure starts from its parent's size: exec keeps it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
