"""One process or many: process groups, and batch norm over all of them.

Input: torchrun's environment (none for a single process). The same program runs on one CPU, on several GPUs
and on several nodes; gloo on CPUs, nccl on GPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from amd.models.precision import choose_device
from amd.runtime.processes import keep_freed_memory


@dataclass(frozen=True)
class Process:
    """This process among all of one training."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0


@contextmanager
def join_processes(device: str) -> Iterator[Process]:
    """Join the group that torchrun describes; alone when there is none. `device` is auto, cpu or cuda."""
    keep_freed_memory()
    local = int(os.environ.get("LOCAL_RANK", 0))
    chosen = choose_device(device, local)
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Process(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(dist.get_rank(), count, chosen)
    finally:
        dist.destroy_process_group()


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor without gradient over all processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device; torch's own is for CUDA alone.

    Every process must hold the same number of samples, as in this project's training.
    """

    running_mean: Tensor  # always there, as this project makes them
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        pixels = x.float()
        moments = torch.stack((pixels.mean((0, 2, 3)), (pixels * pixels).mean((0, 2, 3))))
        mean, square = all_reduce(moments) / dist.get_world_size()
        variance = square - mean * mean
        self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1] * dist.get_world_size())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (pixels * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """Make every batch norm of `module` one over all processes, in place; names and weights stay."""
    for layer in module.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SyncBatchNorm2d
    return module
