"""Pretraining of AMD on shards of frame pairs (paper 4.1).

Enters: shards and params.yaml. Leaves: a checkpoint, and the history of the training as JSON. The program
`python -m amd.training.pretrain` is one process of it; torchrun starts several, on one machine or on many.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from amd.config import Embedding, Params, Pretrain, load_params
from amd.data.pairs.read import Batch, PairReader, to_float
from amd.data.pairs.transforms import PairTransform
from amd.models.amd import AMD, AMDOutput, Architecture
from amd.models.checkpoint import ModelInfo, fill, save_checkpoint
from amd.models.loading import open_as
from amd.models.precision import fastest_precision
from amd.runtime.errors import exit_on_user_error, system_errors
from amd.runtime.files import write_json
from amd.runtime.tracking import attached_run
from amd.training.distributed import Process, process_group, synchronise_batch_norm
from amd.training.loop import Progress, TrainSettings, Watcher, polynomial_decay, train
from amd.training.losses import view_synthesis_loss


class PairObjective(nn.Module):
    """A batch of frame pairs to the view-synthesis loss and what is watched beside it."""

    def __init__(self, model: AMD) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        first, second = to_float(batch, next(self.parameters()).device)
        output = self.model(first, second)
        return {"loss": view_synthesis_loss(output, first, second), **segment_scalars(output)}


@torch.no_grad()
def segment_scalars(output: AMDOutput) -> dict[str, Tensor]:
    """Per segment: mean area (share of the frame) and mean length of its flow (pixels of the motion input)."""
    area = torch.cat((output.masks_first, output.masks_second)).mean((0, 2, 3))
    motion = torch.cat((output.forward_region_flow, output.backward_region_flow)).norm(dim=2).mean(0)
    return {f"area_{m}": area[m] for m in range(len(area))} | {f"motion_{m}": motion[m] for m in range(len(area))}


def pretrain(
    params: Params,
    index: Path,
    state: Path,
    process: Process,
    watcher: Callable[[AMD], Watcher] | None = None,
    start: Path | None = None,
) -> tuple[AMD, Progress]:
    """Train AMD as `params.model` and `params.pretrain` say, continuing from `state`.

    The weights of the checkpoint `start` are the first ones, random ones without it. UserError when they do not fit.
    """
    settings = params.pretrain
    torch.manual_seed(settings.seed)
    model = AMD(Architecture(**params.model.model_dump()))
    if start is not None:
        fill(model, open_as(AMD, start)[0].state_dict(), start)
    model.to(process.device)
    objective = PairObjective(model)
    if process.count > 1:
        synchronise_batch_norm(model)
    optimiser = torch.optim.Adam(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    progress = train(
        objective,
        optimiser,
        lambda start: open_reader(settings, index, process, start),
        train_settings(settings, process),
        process,
        state,
        watcher(model) if watcher is not None else None,
    )
    return model.eval(), progress


def open_reader(settings: Pretrain, index: Path, process: Process, start: int) -> PairReader:
    """The stream of this process's batches from number `start` on."""
    return PairReader(
        index,
        PairTransform(settings.short_edge, settings.min_ratio, settings.crop),
        pairs=settings.pairs,
        seed=settings.seed,
        rank=process.rank,
        world_size=process.count,
        workers=settings.readers,
        start=start,
    )


def train_settings(settings: Pretrain | Embedding, process: Process) -> TrainSettings:
    """The loop's settings from params.yaml's."""
    return TrainSettings(
        iterations=settings.iterations,
        checkpoint_every=settings.checkpoint_every,
        log_every=settings.log_every,
        precision=fastest_precision(settings.precision, process.device),
        recompute=settings.recompute,
        rate=polynomial_decay(settings.learning_rate, settings.min_learning_rate, settings.power, settings.iterations),
        seed=settings.seed,
    )


def summary(progress: Progress, settings: Pretrain, processes: int) -> dict:
    """What is kept of a finished training: the mean of the last tenth of the loss, rates, and the curve."""
    last = progress.history[-max(1, len(progress.history) // 10) :]
    mean = lambda name: sum(row[name] for row in last) / len(last)
    return {
        "iterations": progress.iteration,
        "loss": mean("loss"),
        "pairs_per_s": mean("iterations_per_s") * settings.pairs * processes,
        "data_wait_share": mean("data_wait_share"),
        "memory_mb": max(row["memory_mb"] for row in progress.history),
        "skipped_steps": progress.skipped,
        "curve": progress.history,
    }


@exit_on_user_error
@system_errors()
def main() -> None:
    """One process of a pretraining."""
    from amd.training.pictures import PretrainWatcher

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--index", type=Path, required=True, help="index.parquet of the shards")
    parser.add_argument("--state", type=Path, required=True, help="where the state to go on from is kept")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--history", type=Path, required=True, help="JSON of the loss curve")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights are the first ones")
    parser.add_argument("--lineage", type=json.loads, default={}, help="JSON kept in the checkpoint")
    arguments = parser.parse_args()
    params = load_params(arguments.params)
    with process_group(params.pretrain.device) as process:
        run = attached_run() if process.leads else None
        watcher = None if run is None else lambda model: PretrainWatcher(run, model, params.pretrain)
        model, progress = pretrain(params, arguments.index, arguments.state, process, watcher, arguments.start)
        if process.leads:
            info = ModelInfo(
                architecture=model.architecture,
                params=params.model_dump(by_alias=True),
                lineage=arguments.lineage,
            )
            save_checkpoint(arguments.out, model, info)
            write_json(arguments.history, summary(progress, params.pretrain, process.count))


if __name__ == "__main__":
    main()
