"""Stage pretrain: the network trained on frame pairs, with torchrun when there are several processes.

Input: data/shards, data/manifest.parquet, params.model, params.pretrain, models/start.yaml. Output:
models/pretrained.safetensors, metrics/pretrain.json.
"""

from pathlib import Path

from amd.config import Params
from amd.runtime.files import read_json
from amd.runtime.tracking import Run
from amd.training.launching import made_from
from stages import run_stage
from stages.start import read_start
from stages.trainings import run_training, start_file

MANIFEST = Path("data/manifest.parquet")
INDEX = Path("data/shards/index.parquet")
CHECKPOINT = Path("models/pretrained.safetensors")
HISTORY = Path("metrics/pretrain.json")


def main(params: Params, run: Run) -> None:
    """Train, or go on training after an interruption."""
    begin = read_start()
    start = start_file(begin, "pretrain.start")
    options = {"--index": INDEX, "--out": CHECKPOINT, "--history": HISTORY, "--start": start}
    options |= {"--left-out": MANIFEST if params.pretrain.patience else None}
    lineage = {"start": begin} if begin else {}
    run_training(
        "pretrain", params, made_from(params, INDEX, start, MANIFEST), options, lineage=lineage, lock="pretrain"
    )
    run.tags({"pretrain.start": begin or "from scratch"})
    run.metrics({key: value for key, value in read_json(HISTORY).items() if key != "curve"})
    run.artifact(HISTORY)


if __name__ == "__main__":
    run_stage("pretrain", main)
