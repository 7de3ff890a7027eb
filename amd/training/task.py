"""What every training has in common: a task says what is trained on what, and one function trains it.

Input: a Task, which a method makes of params.yaml (amd.training.pretrain, embedding, semantic), and where its state is
kept. Output: the trained network, what is kept of its history, and metrics and pictures in MLflow while it trains.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from amd.config.section import Training
from amd.models.checkpoint import Info
from amd.models.precision import fastest_precision
from amd.runtime.tracking import Run
from amd.training.distributed import Process, synchronise_batch_norm
from amd.training.keeping import Keeper, Keeping
from amd.training.loop import TrainSettings, polynomial_decay, train
from amd.training.state import Progress


@dataclass(frozen=True)
class Task:
    """One training; the network is on the CPU, with the weights that it starts from."""

    network: nn.Module
    objective: nn.Module  # holds the network; a batch to a dictionary of scalars with the key "loss"
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    batches: Callable[[int], Iterable[Any]]  # the endless stream from a batch number on
    settings: Training
    seed: int
    item: str  # what a batch has: "pairs" or "images"
    info: Callable[[], Info]  # what travels with the trained weights
    reported: tuple[str, ...] = ("loss", "data_wait_share")  # scalars whose mean over the end is kept
    picture: Callable[[Any], np.ndarray] | None = None  # of a batch, RGB uint8 H,W,3
    pictures_every: int = 1
    keeping: Keeping | None = None  # None: the last weights are kept


class MlflowCallback:
    """Logs a training to an MLflow run; see amd.training.loop.Callback."""

    def __init__(self, run: Run, task: Task) -> None:
        self._run, self._task = run, task

    def logged(self, row: dict[str, float]) -> None:
        """Log a row of the history at its iteration, with items per second over all processes of this machine."""
        task = self._task
        values = {name: value for name, value in row.items() if name != "iteration"}
        values[f"{task.item}_per_s"] = row["iterations_per_s"] * task.settings.batch_size * task.settings.processes
        self._run.metrics(values, step=int(row["iteration"]))

    def stepped(self, iteration: int, batch: Any) -> None:
        """Take a picture of the batch every `pictures_every` iterations, where the task has pictures."""
        if self._task.picture is not None and iteration % self._task.pictures_every == 0:
            self._run.picture(self._task.picture(batch), f"pictures/{iteration:07d}.png")


def run_task(task: Task, state: Path, process: Process, run: Run | None = None) -> Progress:
    """Train `task.network` in place, continuing from the file `state` if it exists; it ends in evaluation mode.

    Logs to `run`. Raises what amd.training.loop.train raises.
    """
    task.network.to(process.device)
    if process.count > 1:
        synchronise_batch_norm(task.network)
    optimiser, callback = task.optimiser(task.network.parameters()), MlflowCallback(run, task) if run else None
    how = train_settings(task.settings, task.seed, process.device)
    keeper = Keeper(task.objective, task.keeping) if task.keeping else None
    progress = train(task.objective, optimiser, task.batches, how, process, state, callback, keeper)
    if keeper is not None and keeper.known:
        task.objective.load_state_dict(keeper.best.state_dict())
        progress.kept, progress.agreement = int(keeper.iteration), float(keeper.value)
    task.network.eval()
    return progress


def train_settings(settings: Training, seed: int, device: torch.device) -> TrainSettings:
    """The loop's settings from params.yaml's."""
    floor = getattr(settings, "min_learning_rate", 0.0)
    return TrainSettings(
        iterations=settings.iterations,
        checkpoint_every=settings.checkpoint_every,
        log_every=settings.log_every,
        precision=fastest_precision(settings.precision, device),
        activation_checkpointing=settings.activation_checkpointing,
        rate=polynomial_decay(settings.learning_rate, floor, settings.power, settings.iterations),
        seed=seed,
    )


def part(settings: Any, process: Process) -> dict[str, int]:
    """The part of every batch that this process reads, as readers take it."""
    return {"batch_size": settings.batch_size, "seed": settings.seed, "rank": process.rank, "world_size": process.count}


def adam(settings: Training) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    """The optimiser of pretraining and of the embedding."""
    return lambda parameters: torch.optim.Adam(
        parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def summary(task: Task, progress: Progress, processes: int) -> dict[str, Any]:
    """What is kept of a finished training: means over its last tenth, rates, and the curve."""
    last = progress.history[-max(1, len(progress.history) // 10) :]
    mean = lambda name: sum(row[name] for row in last) / len(last)
    return {
        "iterations": progress.iteration,
        **{name: mean(name) for name in task.reported},
        f"{task.item}_per_s": mean("iterations_per_s") * task.settings.batch_size * processes,
        "memory_mb": max(row["memory_mb"] for row in progress.history),
        "skipped_steps": progress.skipped,
        **({} if progress.kept is None else {"kept": progress.kept, "agreement": progress.agreement}),
        "curve": progress.history,
    }
