"""Pretraining of AMD on shards of frame pairs (paper 4.1).

Input: the shards' index and params.yaml. Output: the Task of `python -m amd.training pretrain`.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amd.config import Params, Pretrain
from amd.data.pairs.read import Batch, PairReader, to_float
from amd.data.pairs.transforms import PairTransform
from amd.models.amd import AMD, AMDOutput, Architecture
from amd.models.checkpoint import ModelInfo, fill
from amd.models.loading import open_as
from amd.training.distributed import Process
from amd.training.losses import view_synthesis_loss
from amd.training.pictures import training_picture
from amd.training.task import Task, adam


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that this task alone has."""
    parser.add_argument("--index", type=Path, required=True, help="index.parquet of the shards")


def make_task(params: Params, options: argparse.Namespace, process: Process) -> Task:
    """The training that the command line asks for."""
    return pretraining(params, options.index, process, options.start, options.lineage)


def pretraining(
    params: Params, index: Path, process: Process, start: Path | None = None, lineage: dict[str, Any] | None = None
) -> Task:
    """The training of an AMD as `params.model` and `params.pretrain` say.

    The weights of the checkpoint `start` are the first ones, random ones without it. UserError when they do not fit.
    """
    settings = params.pretrain
    torch.manual_seed(settings.seed)
    model = AMD(Architecture(**params.model.model_dump()))
    if start is not None:
        fill(model, open_as(AMD, start)[0].state_dict(), start)
    return Task(
        network=model,
        objective=PairObjective(model),
        optimiser=adam(settings),
        batches=lambda number: open_reader(settings, index, process, number),
        settings=settings,
        seed=settings.seed,
        item="pairs",
        info=lambda: ModelInfo(model.architecture, params=params.model_dump(by_alias=True), lineage=lineage or {}),
        picture=partial(training_picture, model),
        pictures_every=settings.pictures_every,
    )


def open_reader(settings: Pretrain, index: Path, process: Process, start: int) -> PairReader:
    """The stream of this process's batches from number `start` on."""
    return PairReader(
        index,
        PairTransform(settings.short_edge, settings.min_ratio, settings.crop),
        batch_size=settings.batch_size,
        seed=settings.seed,
        rank=process.rank,
        world_size=process.count,
        workers=settings.num_workers,
        start=start,
    )
