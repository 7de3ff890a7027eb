"""The machine's limits: rates of matrix products and of convolutions, in float32 and in the fastest precision.

Other subjects time these calls in turn with their own, so that a share of the limit is of one moment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.models.precision import fastest_precision
from benchmarks.measure import Row, Setting, Spread, compared, in_turn


@dataclass(frozen=True)
class Limit:
    """A call that does nothing but `flops` floating-point operations."""

    call: Callable[[], object]
    flops: float


def measure(setting: Setting) -> Iterator[Row]:
    """Rates of both kinds in both precisions; bfloat16, which not every machine gains by, stands against float32."""
    for kind, make in (("matrix product", matrix_product), ("3x3 convolution", convolution)):
        limits = {name(dtype): make(setting, dtype) for dtype in (torch.float32, torch.bfloat16)}
        times = in_turn(setting, {key: limit.call for key, limit in limits.items()}, 10, 5)
        for key, limit in limits.items():
            counted = {"items": limit.flops / 1e9, "item": "GFLOP"}
            case = f"{kind}, {key}"
            if key == "float32":
                yield Row(case, Spread.of(times[key]), "s", **counted)
            else:
                yield compared(case, times, key, "float32", **counted)


def precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """float32, and the fastest precision last where it is another."""
    return tuple(dict.fromkeys((torch.float32, fastest_precision("auto", device))))


def name(dtype: torch.dtype) -> str:
    """`float32`, `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def matrix_product(setting: Setting, dtype: torch.dtype) -> Limit:
    """A square matrix product, large enough for the machine's best."""
    size = 256 if setting.quick else 8192 if setting.device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    return Limit(partial(torch.matmul, a, b), 2 * size**3)


def convolution(setting: Setting, dtype: torch.dtype, backward: bool = False) -> Limit:
    """ResNet-50's 3x3 convolution of 256 channels at stride 8 of 384x384; with `backward` both gradients too."""
    channels, edge = (32, 24) if setting.quick else (256, 48)
    images = 64 if setting.device.type == "cuda" else 4
    x = torch.randn(images, channels, edge, edge, device=setting.device, dtype=dtype)
    x = x.to(memory_format=torch.channels_last).requires_grad_(backward)
    weight = torch.randn(channels, channels, 3, 3, device=setting.device, dtype=dtype)
    weight = weight.to(memory_format=torch.channels_last).requires_grad_(backward)
    flops = 2 * images * edge**2 * 9 * channels**2
    if not backward:
        return Limit(partial(_convolve, x, weight), flops)
    gradient = torch.randn_like(x)
    return Limit(lambda: torch.autograd.grad(F.conv2d(x, weight, padding=1), (x, weight), gradient), 3 * flops)


@torch.no_grad()
def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)
