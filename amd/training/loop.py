"""The training loop: DistributedDataParallel, mixed precision, checks, progress, kill-and-resume.

Input: an objective (a module from a batch to a loss), a stream of batches whose position can be restored, and
settings. Output: trained weights in the objective, and a history of what was logged. It knows nothing of what is
trained; pretraining and supervised fine-tuning are two objectives of it.
"""

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from amd.models.checkpoint import save_tensors
from amd.runtime.errors import Interrupted, UserError
from amd.runtime.progress import progress
from amd.training.activation_checkpointing import checkpoint_activations
from amd.training.distributed import Process, mean_over_processes

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


@dataclass
class Progress:
    """Where a training is. All of it is restored on resume."""

    iteration: int = 0
    skipped: int = 0  # non-finite steps
    skipped_in_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


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
) -> Progress:
    """Train until `settings.iterations`, continuing from the file `state` if it exists.

    `batches(n)` is the endless stream from batch n on; `objective(batch)` gives a dictionary of scalars with
    the key "loss". Raises UserError after several non-finite steps in a row, Interrupted after a signal; both
    leave the last good state in `state`.
    """
    done = load_state(state, objective, optimiser)
    if settings.activation_checkpointing:
        checkpoint_activations(objective)
    model = DistributedDataParallel(objective) if process.count > 1 else objective
    objective.train()
    stream = _timed(batches(done.iteration))
    meter = Meter(settings.log_every)
    with _signals() as stopping, _bar(done, settings, process) as bar:
        for iteration in range(done.iteration, settings.iterations):
            batch, waited = next(stream)
            _prepare(optimiser, settings, iteration, process)
            scalars, finite = step(model, objective, optimiser, batch, settings.precision)
            done.iteration = iteration + 1
            _count_non_finite(done, finite, state)
            meter.add(scalars, waited)
            if done.iteration % settings.log_every == 0 or done.iteration == settings.iterations:
                row = meter.row(done.iteration, _rate(optimiser), done.skipped)
                done.history.append(row)
                words = f"loss {row.get('loss', math.nan):.4f}, waits {row['data_wait_share']:.1%}"
                bar.set_postfix_str(words, refresh=False)
                if callback is not None and process.is_main:
                    callback.logged(row)
            if callback is not None and process.is_main:
                callback.stepped(done.iteration, batch)
            bar.update()
            stop = _agree(bool(stopping), process)
            if stop or done.iteration % settings.checkpoint_every == 0 or done.iteration == settings.iterations:
                _save(state, objective, optimiser, done, process)
            if stop and done.iteration < settings.iterations:
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
    state: Path, objective: nn.Module, optimiser: torch.optim.Optimizer, done: Progress, process: Process
) -> None:
    # A state of non-finite steps alone is not a good one to go on from.
    if process.is_main and not done.skipped_in_row:
        save_state(state, objective, optimiser, done)


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


def save_state(path: Path, objective: nn.Module, optimiser: torch.optim.Optimizer, done: "Progress") -> None:
    """Write the state; all processes hold the same, so only the leading one calls this."""
    tensors = {f"weights.{name}": tensor for name, tensor in objective.state_dict().items()}
    names = _parameter_names(objective, optimiser)
    for index, entries in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{names[index]}.{key}": torch.as_tensor(value) for key, value in entries.items()}
    save_tensors(path, tensors, {"progress": json.dumps(asdict(done))})


def load_state(path: Path, objective: nn.Module, optimiser: torch.optim.Optimizer) -> "Progress":
    """Restore everything from `path`; a fresh progress if there is no such file.

    Raises UserError when the file is damaged or belongs to another network.
    """

    if not path.exists():
        return Progress()
    try:
        with safe_open(path, framework="pt") as file:
            done = Progress(**json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        objective.load_state_dict(_under("weights.", tensors))
        _restore_optimiser(objective, optimiser, _under("optimiser.", tensors))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a state of this training ({reason}); remove it to start anew") from None
    return done


def _restore_optimiser(objective: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    indices = {name: index for index, name in _parameter_names(objective, optimiser).items()}
    parameters = dict(objective.named_parameters())
    content = optimiser.state_dict()
    content["state"] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(".", 1)
        if tensor.shape == parameters[parameter].shape:
            # In the parameter's memory format: a fused optimiser pairs the two element by element as they lie.
            tensor = torch.empty_like(parameters[parameter]).copy_(tensor).detach()
        content["state"].setdefault(indices[parameter], {})[key] = tensor
    optimiser.load_state_dict(content)


def _parameter_names(objective: nn.Module, optimiser: torch.optim.Optimizer) -> dict[int, str]:
    """The optimiser's own numbering of parameters, by name."""
    by_identity = {id(parameter): name for name, parameter in objective.named_parameters()}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    return {index: by_identity[id(parameter)] for index, parameter in enumerate(parameters)}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
