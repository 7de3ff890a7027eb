"""Fine-tuning of the appearance pathway for semantic segmentation (paper 4.4), in the loop of amd.training.loop.

Enters: images with labels, params.yaml, and weights to start from. Leaves: a model of amd.models.semantic and the
history as JSON. The loss is the cross-entropy of labelled pixels at the size of the crop. The program `python -m
amd.training.semantic` is one process of it; torchrun starts several.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Params, Semantic, load_params
from amd.data.benchmarks.instances import VOID, class_names
from amd.data.benchmarks.voc import training_images
from amd.data.labelled.semantic_reader import SemanticBatch, SemanticReader
from amd.data.labelled.transforms import SemanticTransform
from amd.models.checkpoint import save_checkpoint
from amd.models.loading import start_backbone
from amd.models.precision import fastest_precision
from amd.models.semantic import (
    SCRATCH,
    SemanticArchitecture,
    SemanticInfo,
    SemanticNetwork,
)
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import write_json
from amd.runtime.tracking import Run, attached_run
from amd.training.distributed import Process, mean_over_processes, process_group, synchronise_batch_norm
from amd.training.loop import Progress, TrainSettings, Watcher, polynomial_decay, train


class SemanticObjective(nn.Module):
    """A batch of labelled crops to its cross-entropy and the share of labelled pixels that are right."""

    def __init__(self, network: SemanticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: SemanticBatch) -> dict[str, Tensor]:
        device = next(self.parameters()).device
        images = batch.images.to(device).permute(0, 3, 1, 2).float().div_(255)
        return semantic_loss(self.network(images), batch.labels.to(device).long())


def semantic_loss(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """{"loss", "accuracy"} of logits B,n,h,w against labels int64 B,H,W; VOID does not count.

    Both are divided by the labelled pixels of the whole batch, over all processes, so that several processes train as
    one; where nothing is labelled both are 0, with zero gradient.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = F.interpolate(logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
        total = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum")
    labelled = mean_over_processes((labels != VOID).sum().float()).clamp(min=1)
    right = (logits.argmax(1) == labels).sum()
    return {"loss": total / labelled, "accuracy": right / labelled}


@dataclass(frozen=True)
class SemanticWatcher:
    """Logs a fine-tuning to an MLflow run; see amd.training.loop.Watcher."""

    run: Run

    def logged(self, row: dict[str, float]) -> None:
        """Log a row of the history at its iteration."""
        self.run.metrics({name: row[name] for name in row if name != "iteration"}, step=int(row["iteration"]))

    def stepped(self, iteration: int, batch: Any) -> None:
        """Nothing is pictured."""


def finetune(
    settings: Semantic,
    info: SemanticInfo,
    weights: Path | None,
    state: Path,
    process: Process,
    watcher: Watcher | None = None,
) -> tuple[SemanticNetwork, Progress]:
    """Train a network of `info` as `settings` say, from `weights` or scratch, continuing from `state`."""
    torch.manual_seed(info.seed)
    network = SemanticNetwork(info.architecture)
    if weights is not None:
        start_backbone(network, weights, "model.backbone")
    network.to(process.device)
    if process.count > 1:
        synchronise_batch_norm(network)
    optimiser = torch.optim.SGD(
        network.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )
    reader = open_reader(settings, info, process)
    progress = train(
        SemanticObjective(network),
        optimiser,
        lambda start: reader.batches(settings.readers, start),
        train_settings(settings, info.seed, process),
        process,
        state,
        watcher,
    )
    return network.eval(), progress


def open_reader(settings: Semantic, info: SemanticInfo, process: Process) -> SemanticReader:
    """What this process's batches are made of."""
    transform = SemanticTransform(
        settings.short_edge, settings.min_scale, settings.max_scale, settings.crop, info.augmentation == "heavy"
    )
    return SemanticReader(
        training_images(settings.root, settings.sbd),
        len(info.architecture.classes),
        transform,
        settings.images,
        info.seed,
        process.rank,
        process.count,
    )


def train_settings(settings: Semantic, seed: int, process: Process) -> TrainSettings:
    """The loop's settings from params.yaml's."""
    return TrainSettings(
        iterations=settings.iterations,
        checkpoint_every=settings.checkpoint_every,
        log_every=settings.log_every,
        precision=fastest_precision(settings.precision, process.device),
        recompute=settings.recompute,
        rate=polynomial_decay(settings.learning_rate, 0.0, settings.power, settings.iterations),
        seed=seed,
    )


def semantic_info(params: Params, start: str, augmentation: str, seed: int, lineage: dict[str, Any]) -> SemanticInfo:
    """What a fine-tuning's model will say of itself; UserError for a dataset of another layout."""
    classes = ("background", *class_names([Path(params.semantic.root)]))
    model = params.model
    return SemanticInfo(
        SemanticArchitecture(model.backbone, model.output_stride, model.dropout, classes),
        short_edge=params.semantic.short_edge,
        start=start,
        augmentation=augmentation,
        seed=seed,
        images=len(training_images(params.semantic.root, params.semantic.sbd)),
        params=params.model_dump(by_alias=True),
        lineage=lineage,
    )


@exit_on_user_error
def main() -> None:
    """One process of a fine-tuning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--start", default=SCRATCH, help="the name that the results have for what it starts from")
    parser.add_argument("--weights", type=Path, help="weights to start from; without them from scratch")
    parser.add_argument("--augmentation", choices=("light", "heavy"), default="light")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True, help="where the state to go on from is kept")
    parser.add_argument("--out", type=Path, required=True, help="the model")
    parser.add_argument("--history", type=Path, required=True, help="JSON of the loss curve")
    parser.add_argument("--lineage", type=json.loads, default={}, help="JSON kept in the model")
    options = parser.parse_args()
    params = load_params(options.params)
    if params.semantic.root is None:
        raise UserError(f"{options.params}: semantic.root is empty; set it to the folder VOC2012")
    info = semantic_info(params, options.start, options.augmentation, options.seed, options.lineage)
    with process_group(params.semantic.device) as process:
        run = attached_run() if process.leads else None
        watcher = SemanticWatcher(run) if run else None
        network, progress = finetune(params.semantic, info, options.weights, options.state, process, watcher)
        if process.leads:
            save_checkpoint(options.out, network, info)
            write_json(options.history, {"iterations": progress.iteration, "curve": progress.history})


if __name__ == "__main__":
    main()
