"""Checkpoints: weights as safetensors with what is needed to use them; nothing pickled is ever run.

A checkpoint is one file: AMD's tensors, and as metadata the architecture, the object segment, every segment's
statistics, the size images are segmented at, the parameters and the lineage.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from amd.errors import UserError
from amd.files import atomic_path
from amd.model.amd import AMD, Architecture
from amd.model.reference import from_reference

FORMAT = "amd-checkpoint-1"
REFERENCE_OBJECT_SEGMENT = 1  # what the published code reads (its README says 0)
REFERENCE_SHORT_EDGE = 392


@dataclass(frozen=True)
class ModelInfo:
    """What travels with the weights."""

    architecture: Architecture
    object_segment: int | None = None  # None until it was chosen
    short_edge: int | None = None  # images are resized to this to be segmented
    segments: list[dict[str, Any]] = field(default_factory=list)  # rows of amd.tables.SEGMENTS
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path | str, model: AMD, info: ModelInfo) -> None:
    """Write weights and metadata atomically."""
    metadata = {"format": FORMAT, "info": json.dumps(asdict(info), sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as part:
        save_file(tensors, part, metadata)


def load_checkpoint(path: Path | str) -> tuple[AMD, ModelInfo]:
    """Read a checkpoint into an AMD in evaluation mode.

    Raises UserError when the file is missing, damaged, of another format, or when its weights do not fit
    the architecture that it names.
    """
    tensors, info = read_checkpoint(path)
    model = AMD(info.architecture)
    fill(model, tensors, path)
    return model.eval(), info


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], ModelInfo]:
    """The tensors and the metadata of a checkpoint file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not an AMD checkpoint (format {metadata.get('format')!r}, expected {FORMAT!r})")
    try:
        fields = json.loads(metadata["info"])
        return tensors, ModelInfo(**{**fields, "architecture": Architecture(**fields["architecture"])})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged checkpoint metadata ({error})") from None


def fill(model: AMD, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy `tensors` into `model`; UserError names the first missing, unexpected or misshapen key."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise UserError(f"{path}: key {name!r} is missing; it is not a checkpoint of {model.architecture}")
        if tensors[name].shape != tensor.shape:
            found, expected = tuple(tensors[name].shape), tuple(tensor.shape)
            raise UserError(f"{path}: key {name!r} has shape {found}, expected {expected}")
    for name in tensors:
        if name not in wanted:
            raise UserError(f"{path}: unexpected key {name!r}; it is not a checkpoint of {model.architecture}")
    model.load_state_dict(tensors)


def _is_state_dict(state: dict) -> bool:
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())


def load_reference(path: Path | str) -> tuple[AMD, ModelInfo]:
    """Read the published reference's `.pth` (also with `module.` prefixes, also inside `state_dict`).

    Raises UserError for a file that holds pickled code, or whose layout differs, naming the first key.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a plain PyTorch state dict; nothing in it was run ({reason})") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not _is_state_dict(state):
        raise UserError(f"{path}: holds no state dict of tensors")
    try:
        renamed = from_reference(state)
    except ValueError as error:
        raise UserError(f"{path}: {error}; it is not a checkpoint of the published AMD reference") from None
    classifier = renamed.get("appearance.classifier.weight")
    segments = len(classifier) if classifier is not None and classifier.ndim else Architecture.segments
    model = AMD(Architecture(segments=segments))
    fill(model, renamed, path)
    info = ModelInfo(
        architecture=model.architecture,
        object_segment=REFERENCE_OBJECT_SEGMENT,
        short_edge=REFERENCE_SHORT_EDGE,
        lineage={"imported_from": path.name},
    )
    return model.eval(), info
