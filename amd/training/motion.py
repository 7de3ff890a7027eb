"""Training of motion evidence on layered clips, without any label.

Input: the section `motion` of params.yaml. Output: weights, and a card (JSON) with their lineage and scores. The clips'
flows are cached in a folder (amd.motion.layer_flows); the loop is amd.training.loop's.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amd.config import Motion
from amd.data.synthetic.layer_textures import load_textures
from amd.data.synthetic.layers import GENERATION
from amd.models.evidence import EvidenceArchitecture, EvidenceInfo, EvidenceNetwork, load_evidence, save_evidence
from amd.models.precision import fastest_precision
from amd.motion.dense import FlowSettings
from amd.motion.inputs import channels, network_input
from amd.motion.layer_flows import CHUNK, clip_file, write_clips
from amd.runtime.files import sha256, write_json
from amd.runtime.receipts import fingerprint
from amd.training.distributed import Process, mean_over_processes
from amd.training.loop import Callback, TrainSettings, train
from amd.training.state import Progress

HELDOUT = 100_000  # number of the first file of held-out clips
WARM_UP = 0.15  # share of the iterations in which the learning rate grows
ZOOMS = (0.6, 1.0)  # of the crop that a clip is seen through, in frames across
SCORED = 10  # held-out clips at a time
SILENT = 1e-3  # share of a frame below which a mask counts as none
ONE_SIDED = 0.08  # share of clips seen as at an end of a video, with one direction alone


class EvidenceObjective(nn.Module):
    """A batch of clips B,2D+1,h,w to the sum of cross-entropy and Dice loss."""

    def __init__(self, network: EvidenceNetwork, degree: int) -> None:
        super().__init__()
        self.network, self.degree = network, degree

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        device = next(self.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            flows, truth = augmented(batch.to(device))
            inputs = network_input(flows, self.degree)
        logits = self.network(inputs).float()
        return evidence_loss(logits, truth)


def evidence_loss(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy of logits B,h,w with the truth in [0, 1], and 1 - Dice of each clip; their sum is the loss.

    Dice is 2 sum(p t) / (sum(p) + sum(t)) with one cell in a hundred added to both, so that a clip without an object
    asks for a silent map.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    chance = logits.sigmoid().flatten(1)
    wanted = truth.flatten(1)
    slack = 0.01 * wanted.shape[1]
    dice = (2 * (chance * wanted).sum(1) + slack) / (chance.sum(1) + wanted.sum(1) + slack)
    dice_loss = (1 - dice).mean()
    return {"loss": entropy + dice_loss, "cross_entropy": entropy.detach(), "dice_loss": dice_loss.detach()}


def augmented(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Flows B,D,2,h,w and truth B,h,w of clips B,2D+1,h,w: mirrored, reversed in time, cropped, faster or slower."""
    count, rows, height, width = batch.shape
    batch = batch.float()
    directions = (rows - 1) // 2
    mirror = torch.where(torch.rand(count, 2) < torch.tensor([0.5, 0.15]), -1.0, 1.0)
    zoom = torch.empty(count).uniform_(*ZOOMS)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = mirror[:, 0] * zoom, mirror[:, 1] * zoom
    theta[:, :, 2] = (1 - zoom)[:, None] * (2 * torch.rand(count, 2) - 1)  # anywhere in the frame
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False).to(batch.device)
    seen = F.grid_sample(batch, grid, padding_mode="border", align_corners=False)
    speed = torch.exp(torch.empty(count).uniform_(-0.5, 0.4))
    vectors = (speed / zoom)[:, None] * mirror
    flows = seen[:, :-1].reshape(count, directions, 2, height, width) * vectors[:, None, :, None, None].to(batch.device)
    flows = _reversed(flows, torch.rand(count) < 0.5)
    return _one_sided(flows, torch.rand(count) < ONE_SIDED), seen[:, -1]


def _reversed(flows: Tensor, chosen: Tensor) -> Tensor:
    """Flows before and after exchanged where chosen: D is (-gap, +gap) for each gap."""
    swapped = flows.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)
    return torch.where(chosen.to(flows.device)[:, None, None, None, None], swapped, flows)


def _one_sided(flows: Tensor, chosen: Tensor) -> Tensor:
    """The second flow of each gap replaced by the first one negated where chosen, as amd.motion.dense does."""
    pairs = flows.unflatten(1, (-1, 2))
    mirrored = torch.stack([pairs[:, :, 0], -pairs[:, :, 0]], dim=2).flatten(1, 2)
    return torch.where(chosen.to(flows.device)[:, None, None, None, None], mirrored, flows)


class ClipReader:
    """Batches of cached clips in an order drawn from the seed, each clip once before any is seen again.

    Of `count` processes, each has its own part of every batch.
    """

    def __init__(self, paths: Sequence[Path], batch: int, seed: int, rank: int = 0, count: int = 1) -> None:
        self.files = [np.load(path, mmap_mode="r") for path in paths]
        self.clips = sum(len(file) for file in self.files)
        self.batch, self.seed = batch, seed
        self.part = slice(rank * batch // count, (rank + 1) * batch // count)

    def batches(self, start: int) -> Iterator[Tensor]:
        """The endless stream from batch `start` on; float16 batch,2D+1,h,w."""
        per_round = max(1, self.clips // self.batch)
        while True:
            order = np.random.default_rng([self.seed, start // per_round]).permutation(self.clips)
            for place in range(start % per_round, per_round):
                yield torch.stack([self.clip(i) for i in order[place * self.batch :][: self.batch][self.part]])
                start += 1

    def clip(self, number: int) -> Tensor:
        """The clip of a number: float16 2D+1,h,w."""
        return torch.from_numpy(np.array(self.files[number // CHUNK][number % CHUNK]))


def one_cycle(rate: float, iterations: int, iteration: int) -> float:
    """The learning rate of an iteration: up in a line, then down along a half cosine to a thousandth."""
    rise = max(1.0, WARM_UP * iterations)
    if iteration < rise:
        return rate * (iteration + 1) / (rise + 1)
    fall = (iteration - rise) / max(1.0, iterations - rise)
    return rate * max(1e-3, 0.5 * (1 + float(np.cos(np.pi * fall))))


def train_evidence(
    settings: Motion, paths: Sequence[Path], state: Path, process: Process, callback: Callback | None = None
) -> tuple[EvidenceNetwork, Progress]:
    """Train on the clips in `paths` as `settings` say, continuing from the file `state` if it exists."""
    torch.manual_seed(settings.seed)
    network = EvidenceNetwork(EvidenceArchitecture(channels(2 * len(settings.gaps)), settings.widths))
    objective = EvidenceObjective(network, settings.degree).to(process.device)
    objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    optimiser = torch.optim.AdamW(
        objective.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    reader = ClipReader(paths, settings.batch_size, settings.seed, process.rank, process.count)
    loop = TrainSettings(
        iterations=settings.iterations,
        checkpoint_every=settings.checkpoint_every,
        log_every=min(50, settings.iterations),
        precision=fastest_precision(settings.precision, process.device),
        rate=lambda iteration: one_cycle(settings.learning_rate, settings.iterations, iteration),
        seed=settings.seed,
    )
    progress = train(objective, optimiser, reader.batches, loop, process, state, callback)
    return network.eval(), progress


@torch.no_grad()
def heldout_scores(network: EvidenceNetwork, paths: Sequence[Path], degree: int) -> dict[str, float]:
    """J at threshold 0.5 over held-out clips with an object; and over those without, the area that is marked falsely.

    `silent_share` is the share of clips without an object of which less than a thousandth is marked.
    """
    device = next(network.parameters()).device
    scores, areas = [], []
    for path in paths:
        clips = torch.from_numpy(np.load(path)).float().to(device)
        flows = clips[:, :-1].unflatten(1, (-1, 2))
        found = torch.cat([network(network_input(part, degree)) > 0 for part in flows.split(SCORED)])
        wanted = clips[:, -1] > 0.5
        for mask, truth in zip(found, wanted, strict=True):
            if truth.any():
                scores.append(float((mask & truth).sum() / (mask | truth).sum()))
            else:
                areas.append(float(mask.float().mean()))
    return {
        "heldout_clips": len(scores) + len(areas),
        "heldout_j": float(np.mean(scores)) if scores else 0.0,
        "false_area": float(np.mean(areas)) if areas else 0.0,
        "silent_share": float(np.mean(np.array(areas) < SILENT)) if areas else 1.0,
    }


def make_clips(settings: Motion, folder: Path) -> tuple[list[Path], list[Path]]:
    """The cached clips to train on and those held out; what is missing is drawn."""
    train_files, heldout_files = -(-settings.clips // CHUNK), -(-settings.heldout_clips // CHUNK)
    first = settings.clips_seed * 2 * HELDOUT
    flow = FlowSettings(gaps=settings.gaps, short_edge=settings.short_edge, grid=settings.grid)
    made_from = [GENERATION, settings.textures, settings.drawn, settings.empty, asdict(flow), settings.clips_seed]
    folder = folder / fingerprint(made_from)[:16]
    numbers = [*range(first, first + train_files), *range(first + HELDOUT, first + HELDOUT + heldout_files)]
    paths = [clip_file(folder, number) for number in numbers]
    missing = [number for number, path in zip(numbers, paths, strict=True) if not path.exists()]
    if missing:
        textures = load_textures(settings.textures, settings.drawn, seed=settings.clips_seed)
        write_clips(
            folder,
            textures,
            missing,
            flow,
            settings.empty,
            settings.workers,
        )
    return paths[:train_files], paths[train_files:]


def card(settings: Motion, info: EvidenceInfo, progress: Progress, scores: dict[str, Any], weights: Path) -> dict:
    """What a reader of the weights must know: what they are, what they were made from, and how good they are."""
    return {
        "what": "motion evidence: from optical flow to P(this pixel moves on its own)",
        "labels": "none; trained on drawn clips, whose truth is exact",
        "sha256": sha256(weights),
        "architecture": asdict(info.architecture),
        "params": settings.model_dump(mode="json"),
        "lineage": info.lineage,
        "loss": progress.history[-1]["loss"],
        "scores": scores,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this task has besides those of every training."""
    parser.add_argument("--clips", type=Path, required=True, help="folder in which clips' flows are kept")


def run(settings: Motion, options: argparse.Namespace, process: Process) -> None:
    """Draw what clips are missing, train or go on training, score; write the weights, and their card as the history."""
    if process.is_main:
        make_clips(settings, options.clips)  # usually there: the stage draws them before
    mean_over_processes(torch.zeros(1, device=process.device))  # waits for all
    clips, heldout = make_clips(settings, options.clips)
    network, progress = train_evidence(settings, clips, options.state, process)
    if not process.is_main:
        return
    lineage = {"textures": settings.textures or "built-in patterns", **options.lineage}
    info = EvidenceInfo(
        network.architecture,
        settings.gaps,
        settings.degree,
        settings.short_edge,
        settings.grid,
        settings.model_dump(mode="json"),
        lineage,
    )
    save_evidence(options.out, network, info)
    network = load_evidence(options.out, process.device)[0]  # scored as it is kept, in float16
    scores = heldout_scores(network, heldout, settings.degree)
    write_json(options.history, card(settings, info, progress, scores, options.out))
