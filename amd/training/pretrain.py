"""Pretraining of AMD on shards of frame pairs (paper 4.1), with their motion evidence where the objective asks for it.

Input: the shards' index and params.yaml. Output: the Task of `python -m amd.training pretrain`.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from amd.config import Params, Pretrain
from amd.config.pipeline import Objective
from amd.data.pairs.evidence import STEPS
from amd.data.pairs.read import Batch, PairReader, to_float
from amd.data.pairs.transforms import PairTransform
from amd.data.tables import INDEX, read_table
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, fill
from amd.models.loading import open_as
from amd.training.changes import Changes, change
from amd.training.distributed import Process
from amd.training.keeping import Keeping
from amd.training.left_out import LeftOut
from amd.training.objective import OBJECT, Prediction, objective, predict
from amd.training.objective import Batch as Known
from amd.training.pictures import training_picture
from amd.training.task import Task, adam, part

PAPER, UNCHANGED = Objective(), Changes()


class PairObjective(nn.Module):
    """A batch of frame pairs to the loss and what is watched beside it; the paper's where no `weights` are given.

    `segment` is the one that evidence makes the object.
    """

    def __init__(
        self, model: AMD, weights: Objective = PAPER, segment: int = OBJECT, changes: Changes = UNCHANGED
    ) -> None:
        super().__init__()
        self.model, self.weights, self.segment, self.changes = model, weights, segment, changes
        # What no term trains has no gradient, which several processes would wait for.
        model.motion.requires_grad_(weights.view_synthesis > 0)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        known = self._known(batch)
        prediction = predict(self.model, known.images, self.weights)
        return {"loss": objective(prediction, known, self.weights, self.segment), **segment_scalars(prediction)}

    def _known(self, batch: Batch) -> Known:
        """The batch as the objective takes it: on the device, changed at random."""
        device = next(self.parameters()).device
        images = torch.cat(to_float(batch, device))
        evidence = None if batch.evidence is None else batch.evidence.to(device).float().div_(STEPS)
        if self.changes:
            rng = np.random.default_rng(int(torch.randint(2**62, ())))  # of torch's state, which resuming restores
            images, evidence = change(images, evidence, self.changes, rng, 2 if self.weights.needs_pairs else 1)
        return Known(images, evidence)


@torch.no_grad()
def segment_scalars(prediction: Prediction) -> dict[str, Tensor]:
    """Per segment: mean area (share of the frame) and mean length of its flow (pixels of the motion input), if any."""
    area = prediction.masks.mean((0, 2, 3))
    scalars = {f"area_{m}": area[m] for m in range(len(area))}
    if (output := prediction.output) is not None:
        motion = torch.cat((output.forward_region_flow, output.backward_region_flow)).norm(dim=2).mean(0)
        scalars |= {f"motion_{m}": motion[m] for m in range(len(area))}
    return scalars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that this task alone has."""
    parser.add_argument("--index", type=Path, required=True, help="index.parquet of the shards")
    parser.add_argument("--left-out", type=Path, help="manifest whose held-out videos say when training ends")


def make_task(params: Params, options: argparse.Namespace, process: Process) -> Task:
    """The training that the command line asks for."""
    return pretraining(params, options.index, process, options.start, options.lineage, options.left_out)


def pretraining(
    params: Params,
    index: Path,
    process: Process,
    start: Path | None = None,
    lineage: dict[str, Any] | None = None,
    left_out: Path | None = None,
) -> Task:
    """The training of an AMD as `params.model` and `params.pretrain` say.

    The weights of the checkpoint `start` are the first ones, random ones without it. UserError when they do not fit.
    What evidence makes the object is the object segment that `start` has, if any. `left_out` is a manifest, whose
    held-out videos say when it ends; None, or no such video: when all iterations are done.
    """
    settings = params.pretrain
    torch.manual_seed(settings.seed)
    model, segment = AMD(Architecture(**params.model.model_dump())), OBJECT
    seen = {video for row in read_table(index, INDEX) for video in row["video_ids"]}
    if start is not None:
        begun, info = open_as(AMD, start)
        fill(model, begun.state_dict(), start)
        segment = OBJECT if info.object_segment is None else info.object_segment
        seen |= set(info.lineage.get("videos", ()))  # what it was trained on, it has seen, too
    known = {"videos": sorted(seen), **(lineage or {})}
    facts: dict[str, Any] = {"params": params.model_dump(by_alias=True), "lineage": known}
    if settings.objective.evidence:
        facts["object_segment"] = segment
    changes = Changes(settings.affine, settings.colour, settings.paste)
    return Task(
        network=model,
        objective=PairObjective(model, settings.objective, segment, changes),
        optimiser=adam(settings),
        batches=lambda number: open_reader(settings, index, process, number),
        settings=settings,
        seed=settings.seed,
        item="pairs",
        info=lambda: ModelInfo(model.architecture, **facts),
        picture=partial(training_picture, model),
        pictures_every=settings.pictures_every,
        keeping=_keeping(params, segment, left_out),
    )


def _keeping(params: Params, segment: int, left_out: Path | None) -> Keeping | None:
    judge = LeftOut(left_out, segment, params.predict.short_edge) if left_out else None
    return Keeping(judge, params.pretrain.judge_every, params.pretrain.patience) if judge and judge.rows else None


def open_reader(settings: Pretrain, index: Path, process: Process, start: int) -> PairReader:
    """The stream of this process's batches from number `start` on."""
    transform = PairTransform(settings.short_edge, settings.min_ratio, settings.crop)
    evidence, mine = settings.objective.evidence > 0, part(settings, process)
    return PairReader(index, transform, workers=settings.num_workers, start=start, evidence=evidence, **mine)
