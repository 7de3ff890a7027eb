"""Fine-tuning of the appearance pathway for semantic segmentation (paper 4.4).

Input: images with labels, params.yaml, and weights to start from. Output: the Task of `python -m amd.training
semantic`. The loss is the cross-entropy of labelled pixels at the size of the crop.
"""

import argparse
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Params, Semantic
from amd.data.benchmarks.instances import VOID, class_names
from amd.data.benchmarks.voc import training_images
from amd.data.labelled.semantic_reader import SemanticBatch, SemanticReader
from amd.data.labelled.transforms import SemanticTransform
from amd.models.loading import start_backbone
from amd.models.semantic import SCRATCH, SemanticArchitecture, SemanticInfo, SemanticNetwork
from amd.runtime.errors import UserError
from amd.training.distributed import Process, mean_over_processes
from amd.training.task import Task


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that this task alone has."""
    parser.add_argument("--name", default=SCRATCH, help="the name that the results have for what it starts from")
    parser.add_argument("--augmentation", choices=("light", "heavy"), default="light")
    parser.add_argument("--seed", type=int, default=0)


def make_task(params: Params, options: argparse.Namespace, process: Process) -> Task:
    """One fine-tuning as `params.semantic` says, from the local file `options.start` or from scratch."""
    settings = params.semantic
    if settings.root is None:
        raise UserError(f"{options.params}: semantic.root is empty; set it to the folder VOC2012")
    info = semantic_info(params, options.name, options.augmentation, options.seed, options.lineage)
    torch.manual_seed(info.seed)
    network = SemanticNetwork(info.architecture)
    if options.start is not None:
        start_backbone(network, options.start, "model.backbone")
    reader = open_reader(settings, info, process)
    rate, momentum, decay = settings.learning_rate, settings.momentum, settings.weight_decay
    return Task(
        network=network,
        objective=SemanticObjective(network),
        optimiser=lambda parameters: torch.optim.SGD(parameters, rate, momentum, weight_decay=decay),
        batches=lambda number: reader.batches(settings.num_workers, number),
        settings=settings,
        seed=info.seed,
        item="images",
        info=lambda: info,
        reported=("loss", "accuracy", "data_wait_share"),
    )


def open_reader(settings: Semantic, info: SemanticInfo, process: Process) -> SemanticReader:
    """What this process's batches are made of."""
    heavy, classes = info.augmentation == "heavy", len(info.architecture.classes)
    transform = SemanticTransform(settings.short_edge, settings.min_scale, settings.max_scale, settings.crop, heavy)
    images = training_images(cast(str, settings.root), settings.sbd)
    return SemanticReader(images, classes, transform, settings.batch_size, info.seed, process.rank, process.count)


def semantic_info(params: Params, start: str, augmentation: str, seed: int, lineage: dict[str, Any]) -> SemanticInfo:
    """What a fine-tuning's model will say of itself; UserError for a dataset of another layout."""
    root = cast(str, params.semantic.root)
    classes = ("background", *class_names([Path(root)]))
    model = params.model
    return SemanticInfo(
        SemanticArchitecture(model.backbone, model.output_stride, model.dropout, classes),
        short_edge=params.semantic.short_edge,
        start=start,
        augmentation=augmentation,
        seed=seed,
        images=len(training_images(root, params.semantic.sbd)),
        params=params.model_dump(by_alias=True),
        lineage=lineage,
    )
