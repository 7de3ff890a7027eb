"""Stage pretrain: the network trained on frame pairs, with torchrun when there are several processes.

Input: data/shards, params.model, params.pretrain, models/start.yaml. Output: models/pretrained.safetensors,
metrics/pretrain.json.
"""

from pathlib import Path

from amd.config import Params
from amd.runtime.files import read_json, sha256
from amd.runtime.tracking import Run
from stages import run_stage
from stages.start import read_start
from stages.trainings import run_training, start_file

INDEX = Path("data/shards/index.parquet")
CHECKPOINT = Path("models/pretrained.safetensors")
HISTORY = Path("metrics/pretrain.json")


def main(params: Params, run: Run) -> None:
    """Train, or go on training after an interruption."""
    begin = read_start()
    start = start_file(begin, "pretrain.start")
    options = {"--index": INDEX, "--out": CHECKPOINT, "--history": HISTORY, "--start": start}
    lineage = {"start": begin} if begin else {}
    run_training("pretrain", params, made_from(params, start), options, lineage=lineage, lock="pretrain")
    run.tags({"pretrain.start": begin or "from scratch"})
    run.metrics({key: value for key, value in read_json(HISTORY).items() if key != "curve"})
    run.artifact(HISTORY)


def made_from(params: Params, start: Path | None = None) -> list:
    """What a training is made from: parameters, shards, weights to start from."""
    return [params.model.model_dump(), params.pretrain.model_dump(), sha256(INDEX), start and sha256(start)]


if __name__ == "__main__":
    run_stage("pretrain", main)
