"""Training of the instance embedding network on images with instances (section 3.1): embedding and semantics jointly.

Enters: folders in the layout of Pascal VOC and params.yaml. Leaves: a checkpoint, and the history of the training as
JSON. The loop is amd.training.loop's. The program `python -m amd.training.embedding` is one process of it;
torchrun starts several, on one machine or on many.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Embedding, load_params
from amd.data.benchmarks.instances import class_names, open_instances
from amd.data.labelled.instance_reader import InstanceBatch, InstanceReader
from amd.data.labelled.transforms import SemanticTransform
from amd.models.checkpoint import save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork
from amd.models.loading import start_backbone
from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import write_json
from amd.runtime.tracking import Run, attached_run
from amd.training.distributed import Process, process_group, synchronise_batch_norm
from amd.training.loop import Progress, Watcher, train
from amd.training.pair_loss import pair_accuracy, pair_loss, pair_weights, squared_distances
from amd.training.pretrain import train_settings
from amd.training.semantic import semantic_loss


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
            squared = squared_distances(at_points(embedding, points, images.shape[2:]))
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


def train_embedding(
    settings: Embedding, state: Path, process: Process, watcher: Watcher | None = None
) -> tuple[EmbeddingNetwork, Progress]:
    """Train a network as `settings` say, continuing from the file `state` if it exists."""
    roots = [Path(root) for root in settings.data]
    torch.manual_seed(settings.seed)
    architecture = EmbeddingArchitecture(
        settings.backbone, settings.output_stride, settings.dropout, class_names(roots)
    )
    network = EmbeddingNetwork(architecture)
    if settings.start is not None:
        start_backbone(network, Path(settings.start), "embedding.backbone")
    objective = EmbeddingObjective(network.to(process.device))
    if process.count > 1:
        synchronise_batch_norm(network)
    optimiser = torch.optim.Adam(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    reader = open_reader(settings, process)
    progress = train(
        objective,
        optimiser,
        lambda start: reader.batches(settings.readers, start),
        train_settings(settings, process),
        process,
        state,
        watcher,
    )
    return network.eval(), progress


def open_reader(settings: Embedding, process: Process) -> InstanceReader:
    """What this process's batches are made of."""
    heavy = settings.augmentation == "heavy"
    known = class_names([Path(root) for root in settings.data])
    return InstanceReader(
        [open_instances([Path(root)], "train", known) for root in settings.data],
        SemanticTransform(settings.short_edge, settings.min_scale, settings.max_scale, settings.crop, heavy),
        points=settings.points,
        images=settings.images,
        seed=settings.seed,
        rank=process.rank,
        world_size=process.count,
    )


def supervision(settings: Embedding) -> dict[str, Any]:
    """What labels a training uses, for the checkpoint and the model card."""
    sets = {}
    for root in settings.data:
        images = open_instances([Path(root)], "train")
        exact = sum(image.instances is not None for image in images)
        sets[root] = {"images": len(images), "with_instance_masks": exact, "with_class_masks": len(images)}
    return {"sets": sets, "start": settings.start or "random weights"}


class EmbeddingWatcher:
    """Logs a training to an MLflow run; see amd.training.loop.Watcher."""

    def __init__(self, run: Run, settings: Embedding) -> None:
        self._run, self._images = run, settings.images * settings.processes

    def logged(self, row: dict[str, float]) -> None:
        """Log a row of the history at its iteration, with images_per_s over all processes of this machine."""
        values = {name: value for name, value in row.items() if name != "iteration"}
        values["images_per_s"] = row["iterations_per_s"] * self._images
        self._run.metrics(values, step=int(row["iteration"]))

    def stepped(self, iteration: int, batch: InstanceBatch) -> None:
        """Nothing is drawn while it trains."""


@exit_on_user_error
def main() -> None:
    """One process of a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--state", type=Path, required=True, help="where the state to go on from is kept")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--history", type=Path, required=True, help="JSON of the loss curve")
    parser.add_argument("--lineage", type=json.loads, default={}, help="JSON kept in the checkpoint")
    arguments = parser.parse_args()
    params = load_params(arguments.params)
    settings = params.embedding
    with process_group(settings.device) as process:
        run = attached_run() if process.leads else None
        watcher = None if run is None else EmbeddingWatcher(run, settings)
        network, progress = train_embedding(settings, arguments.state, process, watcher)
        if process.leads:
            info = EmbeddingInfo(
                architecture=network.architecture,
                short_edge=settings.embed_short_edge,
                supervision=supervision(settings),
                params=params.model_dump(by_alias=True),
                lineage=arguments.lineage,
            )
            save_checkpoint(arguments.out, network, info)
            write_json(arguments.history, history(progress, settings, process.count))


def history(progress: Progress, settings: Embedding, processes: int) -> dict[str, Any]:
    """What is kept of a finished training: means over its end, rates, and the curve."""
    last = progress.history[-max(1, len(progress.history) // 10) :]
    return {
        "iterations": progress.iteration,
        **{
            name: sum(row[name] for row in last) / len(last)
            for name in ("loss", "pair_loss", "semantic_loss", "pair_accuracy", "data_wait_share")
        },
        "images_per_s": sum(row["iterations_per_s"] for row in last) / len(last) * settings.images * processes,
        "memory_mb": max(row["memory_mb"] for row in progress.history),
        "skipped_steps": progress.skipped,
        "curve": progress.history,
    }


if __name__ == "__main__":
    main()
