"""The cost volume, forward and backward, against the plain 81 slices."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from amd.models.cost_volume import cost_volume
from amd.models.precision import fastest_precision
from benchmarks.agreement import require_close
from benchmarks.limits import name, precisions
from benchmarks.measure import Row, Setting, compared, growth, in_turn
from benchmarks.plain import operations as plain

SIZES = {  # B,C,h,w of the finest level, both directions
    "quickstart": (16, 24, 32, 32),
    "paper": (4, 32, 96, 160),
}
QUICK = (1, 8, 12, 20)


def measure(setting: Setting) -> Iterator[Row]:
    """Both sizes, in float32 and the fastest precision; growth with the images."""
    fast = fastest_precision("auto", setting.device)
    for size in (QUICK,) if setting.quick else SIZES.values():
        require_same(size, setting.device)
        calls = {"plain": forward_backward(plain.cost_volume, size, torch.float32, setting.device)}
        for dtype in precisions(setting.device):
            calls[name(dtype)] = forward_backward(cost_volume, size, dtype, setting.device)
        times = in_turn(setting, calls, 10, 5)
        for key in list(calls)[1:]:
            case = f"{'x'.join(map(str, size))}, {key}, forward and backward"
            yield compared(
                "cost_volume", case, times, key, "plain", against="plain float32", items=size[0], item="images"
            )
    _, *rest = QUICK if setting.quick else SIZES["paper"]
    calls = {str(n): forward_backward(cost_volume, (n, *rest), fast, setting.device) for n in (2, 4, 8)}
    times = {int(n): values for n, values in in_turn(setting, calls, 5, 5).items()}
    yield from growth("cost_volume", f"{{size}}x{'x'.join(map(str, rest))}, {name(fast)}", times, "images")


def forward_backward(
    volume: Callable[[Tensor, Tensor], Tensor], size: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Callable[[], object]:
    """Both passes; features in the memory format that their convolutions give."""
    layout = torch.contiguous_format if volume is plain.cost_volume else torch.channels_last
    inputs = [torch.randn(size, dtype=dtype, device=device).to(memory_format=layout) for _ in range(2)]
    first, second = (x.requires_grad_() for x in inputs)
    gradient = torch.randn(size[0], 81, *size[2:], dtype=dtype, device=device)
    return lambda: torch.autograd.grad(volume(first, second), (first, second), gradient)


def require_same(size: tuple[int, ...], device: torch.device) -> None:
    """AssertionError unless both give the same volume and gradients."""
    first, second = (torch.randn(size, device=device, requires_grad=True) for _ in range(2))
    gradient = torch.randn(size[0], 81, *size[2:], device=device)
    volumes = [volume(first, second) for volume in (cost_volume, plain.cost_volume)]
    require_close("costs", *volumes)
    ours, theirs = (torch.autograd.grad(volume, (first, second), gradient) for volume in volumes)
    for mine, other in zip(ours, theirs, strict=True):
        require_close("gradients of the cost volume", mine, other)
