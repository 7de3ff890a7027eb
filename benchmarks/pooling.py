"""Mask pooling and segment flow (eqs. 3 and 5), forward and backward, against a loop over the segments."""

from collections.abc import Callable, Iterator
from types import ModuleType

import torch

from amd.models import segment_flow
from benchmarks.agreement import require_close
from benchmarks.measure import Row, Setting, compared, in_turn
from benchmarks.plain import operations as plain

SIZE = (4, 96, 96, 160)  # B,d,h,w of the motion features at the papers' finest level, both directions
QUICK = (1, 8, 12, 20)
SEGMENTS = (5, 10, 20)

Call = Callable[[], tuple[torch.Tensor, ...]]


def measure(setting: Setting) -> Iterator[Row]:
    """The papers' five segments and more."""
    size = QUICK if setting.quick else SIZE
    calls: dict[str, Call] = {}
    for count in SEGMENTS:
        calls[f"ours {count}"] = pool_and_compose(segment_flow, size, count, setting.device)
        calls[f"plain {count}"] = pool_and_compose(plain, size, count, setting.device)
        require_same(calls[f"ours {count}"], calls[f"plain {count}"])
    times = in_turn(setting, calls, 15, 5)
    for count in SEGMENTS:
        case = f"{'x'.join(map(str, size))}, {count} segments, forward and backward"
        names = (f"ours {count}", f"plain {count}")
        yield compared("pooling", case, times, *names, against="plain float32", items=size[0], item="images")
    for count in SEGMENTS[1:]:
        names = (f"ours {count}", f"ours {SEGMENTS[0]}")
        against = f"{SEGMENTS[0]} segments, in proportion"
        yield compared(
            "pooling",
            f"{count} segments",
            times,
            *names,
            against=against,
            work=count / SEGMENTS[0],
            items=size[0],
            item="images",
        )


def pool_and_compose(module: ModuleType, size: tuple[int, ...], segments: int, device: torch.device) -> Call:
    """Features pooled per segment, two of them spread again; both with their gradients."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(size, generator=generator)
    masks = torch.randn(size[0], segments, *size[2:], generator=generator).softmax(1)
    layout = torch.contiguous_format if module is plain else torch.channels_last  # as the convolutions give them
    features, masks = (x.to(device, memory_format=layout).requires_grad_() for x in (features, masks))

    def run() -> tuple[torch.Tensor, ...]:
        flow = module.compose(module.pool_per_segment(features, masks)[..., :2], masks)
        return flow, *torch.autograd.grad(flow.square().sum(), (features, masks))

    return run


def require_same(ours: Call, theirs: Call) -> None:
    """AssertionError unless flow and gradients agree."""
    for mine, other in zip(ours(), theirs(), strict=True):
        require_close("segment flow and its gradients", mine, other)
