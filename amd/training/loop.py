"""The training loop: DistributedDataParallel, mixed precision, checks, progress, kill-and-resume.

Input: an objective (a module from a batch to a loss), a stream of batches whose position can be restored, and
settings. Output: trained weights in the objective, and a history of what was logged. It knows nothing of what is
trained; pretraining and supervised fine-tuning are two objectives of it.
"""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from amd.runtime.errors import Interrupted, UserError
from amd.runtime.progress import progress
from amd.training.activation_checkpointing import checkpoint_activations
from amd.training.distributed import Process, mean_over_processes
from amd.training.keeping import Keeper
from amd.training.state import Progress, load_state, save_state

NON_FINITE_LIMIT = 5  # steps in a row


@dataclass(frozen=True)
class TrainSettings:
    """How to train; see `pretrain` in params.yaml."""

    iterations: int
    checkpoint_every: int
    log_every: int
    precision: torch.dtype
    rate: Callable[[int], float]  # learning rate of an iteration, from 0
    seed: int
    activation_checkpointing: bool = False  # activations of residual blocks


class Callback(Protocol):
    """What is called while a training runs, in the main process: logs metrics, takes pictures."""

    def logged(self, row: dict[str, float]) -> None:
        """A row of the history was made."""

    def stepped(self, iteration: int, batch: Any) -> None:
        """An iteration ended; the objective holds the weights after it."""


def train(
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Callable[[int], Iterable[Any]],
    settings: TrainSettings,
    process: Process,
    state: Path,
    callback: Callback | None = None,
    keeper: Keeper | None = None,
) -> Progress:
    """Train until `settings.iterations`, or until `keeper` says so, continuing from the file `state` if it exists.

    `batches(n)` is the endless stream from batch n on; `objective(batch)` gives a dictionary of scalars with
    the key "loss". Raises UserError after several non-finite steps in a row, Interrupted after a signal; both
    leave the last good state in `state`.
    """
    done = load_state(state, objective, optimiser, keeper)
    if settings.activation_checkpointing:
        checkpoint_activations(objective)
    model = DistributedDataParallel(objective) if process.count > 1 else objective
    objective.train()
    stream = _timed(batches(done.iteration))
    meter = Meter(settings.log_every)
    with _signals() as stopping, _bar(done, settings, process) as bar:
        for iteration in range(done.iteration, settings.iterations):
            if keeper is not None and keeper.ended:
                break
            batch, waited = next(stream)
            _prepare(optimiser, settings, iteration, process)
            scalars, finite = step(model, objective, optimiser, batch, settings.precision)
            done.iteration = iteration + 1
            _count_non_finite(done, finite, state)
            if keeper is not None:
                keeper.follow(objective, done.iteration, process)
            meter.add(scalars, waited)
            if done.iteration % settings.log_every == 0 or done.iteration == settings.iterations:
                row = meter.row(done.iteration, _rate(optimiser), done.skipped)
                row |= keeper.figures() if keeper is not None else {}
                done.history.append(row)
                words = f"loss {row.get('loss', math.nan):.4f}, waits {row['data_wait_share']:.1%}"
                bar.set_postfix_str(words, refresh=False)
                if callback is not None and process.is_main:
                    callback.logged(row)
            if callback is not None and process.is_main:
                callback.stepped(done.iteration, batch)
            bar.update()
            stop = _agree(bool(stopping), process)
            ended = done.iteration == settings.iterations or (keeper is not None and keeper.ended)
            if stop or ended or done.iteration % settings.checkpoint_every == 0:
                _save(state, objective, optimiser, done, process, keeper)
            if stop and not ended:
                words = f"stopped at iteration {done.iteration}; the same command continues from there"
                raise Interrupted(f"training: {words}")
    return done


def step(
    model: nn.Module, objective: nn.Module, optimiser: torch.optim.Optimizer, batch: Any, precision: torch.dtype
) -> tuple[dict[str, Tensor], bool]:
    """One optimiser step; skipped, with the buffers restored, when any gradient is not finite."""
    buffers = list(objective.buffers())
    before = [buffer.clone() for buffer in buffers]
    device = next(objective.parameters()).device
    optimiser.zero_grad(set_to_none=True)  # before the forward pass, at whose end the memory's peak is
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        scalars = model(batch)
    scalars["loss"].backward()
    gradients = (parameter.grad for parameter in objective.parameters())
    norm = torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
    finite = bool(torch.isfinite(norm))  # gradients are the same in every process, so all agree
    if finite:
        optimiser.step()
    else:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
    return {**{name: value.detach() for name, value in scalars.items()}, "gradient_norm": norm}, finite


def polynomial_decay(rate: float, floor: float, power: float, iterations: int) -> Callable[[int], float]:
    """The learning rate of each iteration: from `rate` down to `floor` (paper profile: power 0.9)."""
    return lambda iteration: (rate - floor) * (1 - iteration / iterations) ** power + floor


class Meter:
    """Means over the iterations since the last row."""

    def __init__(self, log_every: int) -> None:
        self._log_every = log_every
        self._start()

    def _start(self) -> None:
        self._began, self._waited = time.perf_counter(), 0.0
        self._rows: list[dict[str, Tensor]] = []

    def add(self, scalars: dict[str, Tensor], waited: float) -> None:
        """Count one iteration's scalars and the seconds it waited for data."""
        self._rows.append(scalars)
        self._waited += waited

    def row(self, iteration: int, rate: float, skipped: int) -> dict[str, float]:
        """The history's next row; the scalars are means over all processes."""
        names = sorted(self._rows[0])
        stacked = torch.stack([torch.stack([row[name].float() for name in names]) for row in self._rows])
        means = mean_over_processes(torch.nanmean(stacked, 0)).tolist()
        elapsed = time.perf_counter() - self._began
        row = {
            "iteration": iteration,
            **{name: value for name, value in zip(names, means, strict=True) if math.isfinite(value)},
            "learning_rate": rate,
            "iterations_per_s": len(self._rows) / elapsed,
            "data_wait_share": self._waited / elapsed,
            "memory_mb": psutil.Process().memory_info().rss / 2**20,
            "skipped": skipped,
        }
        self._start()
        return row


def _count_non_finite(done: Progress, finite: bool, state: Path) -> None:
    done.skipped += not finite
    done.skipped_in_row = 0 if finite else done.skipped_in_row + 1
    if done.skipped_in_row >= NON_FINITE_LIMIT:
        raise UserError(
            f"training: loss or gradients were not finite in {done.skipped_in_row} iterations in a row, the last "
            f"of them {done.iteration}; lower the learning rate or train in float32 (last good state: {state})"
        )


def _timed(stream: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Batches with the seconds that were spent waiting for each."""
    iterator = iter(stream)
    while True:
        began = time.perf_counter()
        batch = next(iterator)
        yield batch, time.perf_counter() - began


def _prepare(optimiser: torch.optim.Optimizer, settings: TrainSettings, iteration: int, process: Process) -> None:
    torch.manual_seed((settings.seed * settings.iterations + iteration) * process.count + process.rank)
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(iteration)


def _save(
    state: Path,
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    done: Progress,
    process: Process,
    keeper: Keeper | None,
) -> None:
    # A state of non-finite steps alone is not a good one to go on from.
    if process.is_main and not done.skipped_in_row:
        save_state(state, objective, optimiser, done, keeper)


def _rate(optimiser: torch.optim.Optimizer) -> float:
    return float(optimiser.param_groups[0]["lr"])


def _agree(stop: bool, process: Process) -> bool:
    """Whether any process was told to stop."""
    if process.count == 1:
        return stop
    return bool(mean_over_processes(torch.tensor(float(stop), device=process.device)) > 0)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that is no longer empty once SIGINT or SIGTERM arrived."""
    caught: list[int] = []
    handlers = {number: signal.signal(number, lambda n, _: caught.append(n)) for number in _STOPPING}
    try:
        yield caught
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


_STOPPING = (signal.SIGINT, signal.SIGTERM)


def _bar(done: Progress, settings: TrainSettings, process: Process) -> Any:
    bar = progress(range(settings.iterations), "training", settings.iterations, "steps")
    bar.disable = not process.is_main
    bar.update(done.iteration)
    return bar
