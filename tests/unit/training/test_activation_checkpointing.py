"""Activations that are computed again: the same training to the bit, and less to keep."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from amd.models.amd import AMD, Architecture
from amd.training.activation_checkpointing import checkpoint_activations
from amd.training.distributed import synchronise_batch_norm
from amd.training.loop import step

NETWORKS = {
    "small": Architecture("small", 3, 4, 0.2, "small", 64, 64),
    "resnet18": Architecture("resnet18", 3, 8, 0.2, "small", 64, 64),
    "resnet50": Architecture("resnet50", 3, 8, 0.2, "small", 64, 64),
}


class Objective(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = AMD(architecture)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": self.model.segment(images).square().mean()}


def trained(
    architecture: Architecture, change: Callable[[nn.Module], object], precision: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """The weights and statistics after two steps, the dropout's draws included."""
    objective = Objective(architecture).train()
    change(objective)
    optimiser = torch.optim.SGD(objective.parameters(), 0.1)
    for seed in range(2):
        torch.manual_seed(seed)
        step(objective, objective, optimiser, torch.rand(2, 3, 64, 64), precision)
    return objective.state_dict()


def kept_bytes(architecture: Architecture, change: Callable[[nn.Module], object]) -> int:
    """What the forward pass keeps for the backward pass, parameters aside."""
    objective = Objective(architecture).train()
    change(objective)
    own, kept = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}, {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective(torch.rand(2, 3, 64, 64))["loss"]
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(
    ("name", "synchronised"), [("small", False), ("small", True), ("resnet18", False), ("resnet50", True)]
)
def test_nothing_changes_to_the_bit(name: str, synchronised: bool):
    prepare = synchronise_batch_norm if synchronised else lambda objective: objective
    expected = trained(NETWORKS[name], prepare)
    found = trained(NETWORKS[name], lambda objective: checkpoint_activations(prepare(objective)))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert expected["model.appearance.head.0.1.num_batches_tracked"] == 2


def test_nothing_changes_in_bfloat16():
    expected = trained(NETWORKS["small"], lambda _: None, torch.bfloat16)
    found = trained(NETWORKS["small"], checkpoint_activations, torch.bfloat16)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_less_is_kept():
    plain, recomputed = (
        kept_bytes(NETWORKS["resnet50"], change) for change in (lambda _: None, checkpoint_activations)
    )
    assert 0 < recomputed < plain / 2
