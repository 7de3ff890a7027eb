"""From what a user calls a model to the network: a registry name, a checkpoint, or the published reference.

Enters: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a checkpoint (.safetensors) or the reference's file (.pth).
Leaves: an AMD in evaluation mode on the CPU, with its ModelInfo. Pickled code is never run.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, load_checkpoint, load_reference
from amd.runtime.errors import UserError

if TYPE_CHECKING:
    from amd.models.embedding import EmbeddingInfo, EmbeddingNetwork

ACCEPTED = "models:/NAME@ALIAS, models:/NAME/VERSION, a checkpoint .safetensors or the published reference's .pth"


def resolve_model(uri: str) -> tuple[AMD, ModelInfo]:
    """The network that `uri` names, in evaluation mode on the CPU.

    Raises UserError for a name of another form, a missing or damaged file, an unknown alias, or weights of
    another architecture.
    """
    uri = str(uri)
    if uri.startswith("models:/"):
        from amd.runtime.registered import pull  # MLflow takes seconds to import

        return load_checkpoint(pull(uri))
    suffix = Path(uri).suffix.lower()
    if suffix == ".safetensors":
        return load_checkpoint(uri)
    if suffix == ".pth":
        return load_reference(uri)
    raise UserError(f"{uri}: not a model; give {ACCEPTED}")


def resolve_embedding(uri: str) -> tuple["EmbeddingNetwork", "EmbeddingInfo"]:
    """The instance embedding network that `uri` names: a registered model or a checkpoint; raises as resolve_model."""
    from amd.models.embedding import load_embedding

    uri = str(uri)
    if uri.startswith("models:/"):
        from amd.runtime.registered import pull

        return load_embedding(pull(uri))
    if Path(uri).suffix.lower() == ".safetensors":
        return load_embedding(uri)
    raise UserError(f"{uri}: not an instance embedding; give models:/NAME@ALIAS or a checkpoint .safetensors")
