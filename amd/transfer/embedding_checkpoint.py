"""Checkpoints of the instance embedding network: weights as safetensors with what is needed to use them.

As metadata: the architecture, the size that frames are embedded at, what supervision the weights had, their scores on
held-out images, the parameters and the lineage. Nothing pickled is ever run.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from amd.checkpoint import EMBEDDING_FORMAT, fill, read_file
from amd.errors import UserError
from amd.tensor_file import save_tensors
from amd.transfer.network import EmbeddingArchitecture, EmbeddingNetwork


@dataclass(frozen=True)
class EmbeddingInfo:
    """What travels with the weights."""

    architecture: EmbeddingArchitecture
    short_edge: int | None = None  # frames are resized to this to be embedded
    supervision: dict[str, Any] = field(default_factory=dict)  # images and labels that the weights were trained on
    scores: dict[str, Any] = field(default_factory=dict)  # on held-out images, with their protocol
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


def save_embedding(path: Path | str, network: EmbeddingNetwork, info: EmbeddingInfo) -> None:
    """Write weights and metadata atomically."""
    metadata = {"format": EMBEDDING_FORMAT, "info": json.dumps(asdict(info), sort_keys=True)}
    save_tensors(path, network.state_dict(), metadata)


def load_embedding(path: Path | str) -> tuple[EmbeddingNetwork, EmbeddingInfo]:
    """Read a checkpoint into a network in evaluation mode.

    Raises UserError when the file is missing, damaged, of another kind (AMD's among them), or when its weights do
    not fit the architecture that it names.
    """
    tensors, fields = read_file(path, EMBEDDING_FORMAT)
    try:
        architecture = dict(fields.pop("architecture"))
        architecture["classes"] = tuple(architecture["classes"])
        info = EmbeddingInfo(EmbeddingArchitecture(**architecture), **fields)
        network = EmbeddingNetwork(info.architecture)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged checkpoint metadata ({error})") from None
    fill(network, tensors, path)
    return network.eval(), info
