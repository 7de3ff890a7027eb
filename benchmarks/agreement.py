"""The plain baseline and the fast path must give the same numbers before either is timed."""

from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor, nn

from amd.models.amd import AMD, Architecture
from amd.training.losses import view_synthesis_loss
from benchmarks.plain.loss import view_synthesis_loss as plain_loss
from benchmarks.workloads import floats, pairs, plain_twin, sane_model

TOLERANCE = 1e-3  # of the largest value, float32 through 60 layers
GRADIENT_TOLERANCE = 1e-2  # of their norm: a rounded pixel may fall on the other side of a threshold


def require_same_training(architecture: Architecture, device: torch.device, edge: int = 96) -> None:
    """AssertionError unless masks, flows, loss and gradients of both agree in float32, in evaluation mode.

    In evaluation mode, since batch norm over both frames at once is not that of each frame alone; and with small
    images and motion input, which change nothing in the code that runs.
    """
    model = sane_model(replace(architecture, motion_height=128, motion_width=128), edge).to(device)
    with exact_float32():
        _require_same_training(model, *floats(pairs(2, edge), device))


def _require_same_training(model: AMD, first: Tensor, second: Tensor) -> None:
    plain = plain_twin(model)
    ours, theirs = model(first, second), plain(first, second)
    require_close("masks", ours.masks_first, theirs.masks_first)
    require_close("forward flow", ours.forward_flows[0], theirs.forward_flows[0])
    require_close("backward flow", ours.backward_flows[0], theirs.backward_flows[0])
    loss = view_synthesis_loss(ours, first, second)
    their_loss = plain_loss(theirs.forward_flows, theirs.backward_flows, first, second)
    require_close("loss", loss, their_loss)
    loss.backward()
    their_loss.backward()
    require_close_gradients(model, plain)


@torch.no_grad()
def require_same_masks(model: AMD, images: Tensor) -> None:
    """AssertionError unless both give the same masks of `images` B,3,H,W."""
    with exact_float32():
        require_close("masks", model.segment(images), plain_twin(model).segment(images))


def exact_float32() -> AbstractContextManager:
    """Convolutions of float32 without TF32, which a GPU uses by default and which keeps three digits."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def require_close(what: str, ours: Tensor, theirs: Tensor) -> None:
    """AssertionError where two tensors differ by more than TOLERANCE of the largest value."""
    difference = (ours.float() - theirs.float()).abs().max() / theirs.float().abs().max().clamp(min=1e-12)
    assert difference <= TOLERANCE, f"the plain baseline gives other numbers: {what} differ by {difference:.2g}"


def require_close_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    """AssertionError unless the gradients of two networks with the same names agree."""
    flat = lambda model: torch.cat([parameter.grad.flatten() for _, parameter in sorted(model.named_parameters())])
    difference = (flat(ours) - flat(theirs)).norm() / flat(theirs).norm()
    assert difference <= GRADIENT_TOLERANCE, f"the plain baseline gives other gradients: off by {difference:.2g}"
