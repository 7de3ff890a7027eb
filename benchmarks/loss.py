"""The view-synthesis loss (eqs. 6 and 7), forward and backward, against one direction and one level at a time."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.training.losses import flow_loss
from benchmarks.agreement import require_close
from benchmarks.measure import Row, Setting, compared, growth, in_turn
from benchmarks.plain.loss import view_synthesis_loss as plain_loss
from benchmarks.workloads import floats, pairs

SIZES = {"quickstart": (8, 96, (128, 128)), "paper": (2, 384, (384, 640))}  # pairs, edge, finest flow
QUICK = (1, 48, (64, 64))

Loss = Callable[[list[Tensor], list[Tensor], Tensor, Tensor], Tensor]


def measure(setting: Setting) -> Iterator[Row]:
    """Both sizes; growth with the pairs."""
    for number, edge, size in (QUICK,) if setting.quick else SIZES.values():
        calls = {key: forward_backward(loss, number, edge, size, setting.device) for key, loss in LOSSES.items()}
        for ours, theirs in zip(calls["ours"](), calls["plain"](), strict=True):
            require_close("loss and gradients", ours, theirs, 1e-2)
        times = in_turn(setting, calls, 10, 5)
        case = f"{number} pairs, flows from {size[0]}x{size[1]}, forward and backward"
        yield compared("loss", case, times, "ours", "plain", against="plain float32", items=number, item="pairs")
    _, edge, size = QUICK if setting.quick else SIZES["paper"]
    calls = {str(n): forward_backward(flow_loss, n, edge, size, setting.device) for n in (1, 2, 4)}
    times = {int(n): values for n, values in in_turn(setting, calls, 10, 3).items()}
    yield from growth("loss", f"{{size}} pairs, flows from {size[0]}x{size[1]}", times, "pairs")


LOSSES: dict[str, Loss] = {"ours": flow_loss, "plain": plain_loss}


def forward_backward(
    loss: Loss, number: int, edge: int, size: tuple[int, int], device: torch.device
) -> Callable[[], tuple[Tensor, ...]]:
    """The loss and its gradients of smooth flows of a few pixels."""
    images = floats(pairs(number, edge), device)
    forward, backward = flows(0, number, size, device), flows(1, number, size, device)

    def run() -> tuple[Tensor, ...]:
        value = loss(forward, backward, *images)
        return value, *torch.autograd.grad(value, [*forward[:4], *backward[:4]])

    return run


def flows(seed: int, number: int, size: tuple[int, int], device: torch.device) -> list[Tensor]:
    """Flows of four levels, finest first: smooth, some pixels long."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 4 * torch.randn(number, 2, 4, 4, generator=generator)
    levels = [(size[0] >> level, size[1] >> level) for level in range(4)]
    smooth = [F.interpolate(coarse / 2**level, levels[level], mode="bilinear") for level in range(4)]
    return [flow.to(device).requires_grad_() for flow in smooth]
