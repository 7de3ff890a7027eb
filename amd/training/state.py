"""Where a training is, on disk: weights, optimiser, progress, and what is kept beside them.

Input: the modules and the optimiser of a training. Output: one safetensors file, written atomically, from which the
same training goes on as if it had never stopped.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from amd.models.checkpoint import save_tensors
from amd.runtime.errors import UserError


@dataclass
class Progress:
    """Where a training is. All of it is restored on resume."""

    iteration: int = 0
    skipped: int = 0  # non-finite steps
    skipped_in_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    kept: int | None = None  # the iteration whose weights are kept; None: the last one's
    agreement: float | None = None  # of those weights with held-out videos


def save_state(
    path: Path, objective: nn.Module, optimiser: torch.optim.Optimizer, done: Progress, kept: nn.Module | None = None
) -> None:
    """Write the state; all processes hold the same, so only the leading one calls this."""
    tensors = {f"weights.{name}": tensor for name, tensor in objective.state_dict().items()}
    names = _parameter_names(objective, optimiser)
    for index, entries in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{names[index]}.{key}": torch.as_tensor(value) for key, value in entries.items()}
    if kept is not None:
        tensors |= {f"kept.{name}": tensor for name, tensor in kept.state_dict().items()}
    save_tensors(path, tensors, {"progress": json.dumps(asdict(done))})


def load_state(
    path: Path, objective: nn.Module, optimiser: torch.optim.Optimizer, kept: nn.Module | None = None
) -> Progress:
    """Restore everything from `path`; a fresh progress if there is no such file.

    Raises UserError when the file is damaged or belongs to another network.
    """
    if not path.exists():
        return Progress()
    try:
        with safe_open(path, framework="pt") as file:
            done = Progress(**json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        objective.load_state_dict(_under("weights.", tensors))
        _restore_optimiser(objective, optimiser, _under("optimiser.", tensors))
        if kept is not None:
            kept.load_state_dict(_under("kept.", tensors))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a state of this training ({reason}); remove it to start anew") from None
    return done


def _restore_optimiser(objective: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    indices = {name: index for index, name in _parameter_names(objective, optimiser).items()}
    parameters = dict(objective.named_parameters())
    content = optimiser.state_dict()
    content["state"] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(".", 1)
        if tensor.shape == parameters[parameter].shape:
            # In the parameter's memory format: a fused optimiser pairs the two element by element as they lie.
            tensor = torch.empty_like(parameters[parameter]).copy_(tensor).detach()
        content["state"].setdefault(indices[parameter], {})[key] = tensor
    optimiser.load_state_dict(content)


def _parameter_names(objective: nn.Module, optimiser: torch.optim.Optimizer) -> dict[int, str]:
    """The optimiser's own numbering of parameters, by name."""
    by_identity = {id(parameter): name for name, parameter in objective.named_parameters()}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    return {index: by_identity[id(parameter)] for index, parameter in enumerate(parameters)}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
