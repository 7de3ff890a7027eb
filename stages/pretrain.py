"""Stage pretrain: shards to a pretrained checkpoint, with torchrun when there are several processes."""

import json
import shutil
import sys
from pathlib import Path

from amd.config import Params
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, run_lock, sha256
from amd.runtime.receipts import fingerprint
from amd.runtime.tracking import Run
from amd.training.distributed import launch
from stages import input_tags, run_stage
from stages.start import read_start

INDEX = Path("data/shards/index.parquet")
CHECKPOINT = Path("models/pretrained.safetensors")
HISTORY = Path("metrics/pretrain.json")


def main(params: Params, run: Run) -> None:
    """Train, or go on training after an interruption; the state's folder names what is trained from what."""
    begin = read_start()
    start = start_file(begin)
    state = Path(".amd/pretrain") / training_key(params, start)
    arguments = {
        "--index": INDEX,
        "--state": state / "state.safetensors",
        "--out": CHECKPOINT,
        "--history": HISTORY,
        "--lineage": json.dumps(input_tags(params) | ({"start": begin} if begin else {})),
        **({"--start": start} if start else {}),
    }
    with run_lock(".amd/locks/pretrain", "pretrain"):
        words = [str(word) for pair in arguments.items() for word in pair]
        status = launch("amd.training.pretrain", words, params.pretrain.processes)
        if status != 0:
            sys.exit(status)
        shutil.rmtree(state, ignore_errors=True)
    history = read_json(HISTORY)
    run.tags({"pretrain.start": begin or "from scratch"})
    run.metrics({key: value for key, value in history.items() if key != "curve"})
    run.artifact(HISTORY)


def start_file(start: str | None) -> Path | None:
    """The checkpoint that pretrain.start names, downloaded where it is a registered model's; UserError without it."""
    if start is None:
        return None
    if start.startswith("models:/"):
        from amd.runtime.registered import pull

        return pull(start)
    if not Path(start).is_file():
        raise UserError(f"pretrain.start: {start}: no such checkpoint; give one, or models:/NAME/VERSION")
    return Path(start)


def training_key(params: Params, start: Path | None) -> str:
    """A name for this training: it goes on only from a state of the same shards, parameters and beginning."""
    content = [params.model.model_dump(), params.pretrain.model_dump(), sha256(INDEX), start and sha256(start)]
    return fingerprint(content)[:16]


if __name__ == "__main__":
    run_stage("pretrain", main)
