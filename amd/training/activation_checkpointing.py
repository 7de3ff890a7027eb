"""Activations computed a second time in the backward pass instead of being kept: less memory for more time.

Input: a network with residual blocks. Of each block only the input is kept; results do not change.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amd.models.resnet import BasicBlock, Bottleneck, HalvingBlock


def checkpoint_activations(network: nn.Module) -> None:
    """Make every residual block of `network` recompute what its backward pass needs, in place; weights stay."""
    for block in network.modules():
        if isinstance(block, BasicBlock | Bottleneck | HalvingBlock):
            block.forward = partial(_recomputed, block, block.forward)  # type: ignore[method-assign]  # of one object


def _recomputed(block: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(x)
    return checkpoint(forward, x, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Around the first and around the second computation."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Running statistics follow a batch once, not twice: the second time in copies."""
    norms = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [dict(layer.named_buffers()) for layer in norms]
    _set_buffers(norms, [{name: buffer.clone() for name, buffer in buffers.items()} for buffers in kept])
    try:
        yield
    finally:
        _set_buffers(norms, kept)


def _set_buffers(layers: Sequence[nn.Module], buffers: list[dict[str, Tensor]]) -> None:
    for layer, named in zip(layers, buffers, strict=True):
        for name, buffer in named.items():
            setattr(layer, name, buffer)
