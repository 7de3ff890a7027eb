"""Stage embedding: the instance embedding network trained on images with instances.

Input: the folders in embedding.data and embedding.textures, params.embedding. Output:
models/embedding_trained.safetensors and metrics/embedding.json.
"""

from pathlib import Path

from amd.config import Embedding, Params
from amd.data.benchmarks.image_sets import VOC_LISTS
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, sha256
from amd.runtime.tracking import Run
from stages import run_stage
from stages.trainings import run_training, start_file, texture_files

CHECKPOINT = Path("models/embedding_trained.safetensors")
HISTORY = Path("metrics/embedding.json")
# What weights do not depend on.
SCHEDULING = {"num_workers", "checkpoint_every", "log_every", "embed_short_edge", "name"}


def main(params: Params, run: Run) -> None:
    """Train, or go on training after an interruption."""
    start = start_file(params.embedding.start, "embedding.start")
    options = {"--out": CHECKPOINT, "--history": HISTORY, "--start": start}
    run_training("embedding", params, made_from(params.embedding, start), options)
    run.metrics({key: value for key, value in read_json(HISTORY).items() if key != "curve"})
    run.artifact(HISTORY)


def made_from(settings: Embedding, start: Path | None = None) -> list:
    """What a training is made from: parameters, lists of images, textures, weights to start from.

    Raises UserError when a list of images or the folder of textures is not there.
    """
    lists = [Path(root) / VOC_LISTS / "train.txt" for root in settings.data]
    for path in lists:
        if not path.is_file():
            raise UserError(f"{path}: no such list; embedding.data names folders in the layout of Pascal VOC")
    textures = texture_files(settings.textures, "embedding.textures") if settings.layered else []
    images = [[sha256(path) for path in lists], textures]
    return [settings.model_dump(exclude=SCHEDULING), images, start and sha256(start)]


if __name__ == "__main__":
    run_stage("embedding", main)
