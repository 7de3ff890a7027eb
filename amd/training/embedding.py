"""Training of the instance embedding network on images with instances (section 3.1): embedding and semantics jointly.

Input: folders in the layout of Pascal VOC and params.yaml. Output: the Task of `python -m amd.training embedding`.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Embedding, Params
from amd.data.benchmarks.instances import class_names, open_instances
from amd.data.labelled.instance_reader import InstanceBatch, InstanceReader, LayeredImages
from amd.data.labelled.transforms import SemanticTransform
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork
from amd.models.loading import start_backbone
from amd.training.distributed import Process
from amd.training.pair_loss import pair_accuracy, pair_loss, pair_weights, squared_distances
from amd.training.semantic import semantic_loss
from amd.training.task import Task, adam, part


class EmbeddingObjective(nn.Module):
    """A batch of crops to the sum of the pair loss (eq. 2) and the semantic log loss."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: InstanceBatch) -> dict[str, Tensor]:
        device = next(self.parameters()).device
        images = batch.images.to(device).permute(0, 3, 1, 2).float().div_(255.0)
        classes, points = batch.classes.to(device), batch.points.to(device)
        embedding, logits = self.network(images)
        with torch.autocast(device.type, enabled=False):
            squared = squared_distances(at_points(embedding, points, (images.shape[2], images.shape[3])))
            owners, exact = batch.owners.to(device), batch.exact.to(device)
            same, weights = pair_weights(owners, values_at(classes, points), exact)
            pairs = pair_loss(squared, same, weights)
            semantics = semantic_loss(logits, classes.long())["loss"]
            accuracy = pair_accuracy(squared.detach(), same, weights)
        return {"loss": pairs + semantics, "pair_loss": pairs, "semantic_loss": semantics, "pair_accuracy": accuracy}


def at_points(embedding: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Embeddings B,P,D at image pixels `points` B,P,2 (row, column) of a map B,D,h,w, as if resized to `size` H,W."""
    scale = torch.tensor(size, device=points.device)
    rows_columns = (2 * points + 1) / scale - 1  # centres of pixels in [-1, 1]
    grid = rows_columns.flip(2)[:, :, None]  # B,P,1,2 as x, y
    sampled = F.grid_sample(embedding, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.squeeze(3).transpose(1, 2)


def values_at(labels: Tensor, points: Tensor) -> Tensor:
    """The values B,P of label maps B,H,W at `points` B,P,2 (row, column)."""
    return labels[torch.arange(len(labels), device=labels.device)[:, None], points[:, :, 0], points[:, :, 1]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No option is this task's alone."""


def make_task(params: Params, options: argparse.Namespace, process: Process) -> Task:
    """The training of an embedding network as `params.embedding` says.

    The weights of the backbone are those of the local file `options.start`, random ones without it.
    """
    settings = params.embedding
    classes = class_names([Path(root) for root in settings.data])
    torch.manual_seed(settings.seed)
    architecture = EmbeddingArchitecture(settings.backbone, settings.output_stride, settings.dropout, classes)
    network = EmbeddingNetwork(architecture)
    if options.start is not None:
        start_backbone(network, options.start, "embedding.backbone")
    reader = open_reader(settings, process)
    return Task(
        network=network,
        objective=EmbeddingObjective(network),
        optimiser=adam(settings),
        batches=lambda number: reader.batches(settings.num_workers, number),
        settings=settings,
        seed=settings.seed,
        item="images",
        info=lambda: EmbeddingInfo(
            architecture=architecture,
            short_edge=settings.embed_short_edge,
            supervision=supervision(settings),
            params=params.model_dump(by_alias=True),
            lineage=options.lineage,
        ),
        reported=("loss", "pair_loss", "semantic_loss", "pair_accuracy", "data_wait_share"),
    )


def open_reader(settings: Embedding, process: Process) -> InstanceReader:
    """What this process's batches are made of."""
    heavy = settings.augmentation == "heavy"
    known = class_names([Path(root) for root in settings.data])
    sets = [open_instances([Path(root)], "train", known) for root in settings.data]
    transform = SemanticTransform(settings.short_edge, settings.min_scale, settings.max_scale, settings.crop, heavy)
    layered = LayeredImages(settings.layered, settings.textures)
    return InstanceReader(sets, transform, settings.points, layered=layered, **part(settings, process))


def supervision(settings: Embedding) -> dict[str, Any]:
    """What labels a training uses, for the checkpoint and the model card."""
    sets = {}
    for root in settings.data:
        images = open_instances([Path(root)], "train")
        exact = sum(image.instances is not None for image in images)
        sets[root] = {"images": len(images), "with_instance_masks": exact, "with_class_masks": len(images)}
    told = {"sets": sets, "start": settings.start or "random weights"}
    if settings.layered:
        facts = {"share": settings.layered, "textures": settings.textures or "built-in", "labels": "none"}
        told["layered_images"] = facts
    return told
