"""Stage embedding_score: how well the embeddings tell held-out instances apart, kept with the weights.

Input: models/embedding_trained.safetensors, the val lists of the folders in embedding.data, embedding.embed_short_edge.
Output: models/embedding.safetensors, metrics/embedding_score.json, a picture.
"""

from dataclasses import replace
from pathlib import Path

from amd.config import Params
from amd.data.benchmarks.instances import open_instances
from amd.evaluation.embedding_score import score_embedding
from amd.models.checkpoint import save_checkpoint
from amd.models.embedding import EmbeddingNetwork
from amd.models.loading import open_as
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from stages import run_stage

TRAINED = Path("models/embedding_trained.safetensors")
CHECKPOINT = Path("models/embedding.safetensors")
SCORES = Path("metrics/embedding_score.json")


def main(params: Params, run: Run) -> None:
    """Score every folder's val images and write the finished checkpoint."""
    settings = params.embedding
    network, info = open_as(EmbeddingNetwork, TRAINED, settings.device)
    scores = {}
    for root in settings.data:
        images = open_instances([Path(root)], "val", info.architecture.classes)
        scores[root] = score_embedding(network, images, settings.embed_short_edge)
    save_checkpoint(CHECKPOINT, network, replace(info, short_edge=settings.embed_short_edge, scores=scores))
    write_json(SCORES, scores)
    for number, values in enumerate(scores.values()):
        prefix = f"val{number}_" if len(scores) > 1 else ""
        numbers = {key: value for key, value in values.items() if isinstance(value, float)}
        run.metrics({prefix + key: value for key, value in numbers.items()})
    run.artifact(SCORES)


if __name__ == "__main__":
    run_stage("embedding_score", main)
