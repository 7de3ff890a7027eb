"""Stage embedding_register: the instance embedding becomes a version in the registry, under a name of its own.

Input: models/embedding.safetensors, embedding.name, register.max_drop. Output: metrics/embedding_register.json.
"""

from pathlib import Path

from amd.config import Params
from amd.registry.embedding import register_embedding
from amd.runtime.tracking import Run
from stages import run_stage
from stages.register import tell

CHECKPOINT = Path("models/embedding.safetensors")


def main(params: Params, run: Run) -> None:
    """Register, and tell what the gates said."""
    result = register_embedding(CHECKPOINT, params.embedding.name, params.register_.max_drop, run)
    tell(result, "metrics/embedding_register.json")


if __name__ == "__main__":
    run_stage("embedding_register", main)
