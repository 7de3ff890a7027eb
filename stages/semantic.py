"""Stage semantic: one fine-tuning for semantic segmentation, as pipelines/semantic/dvc.yaml names it.

Input: params.semantic, and the start, augmentation and seed of the command line. Output: models/semantic/<name>/ with
the model and its history; empty where no dataset is configured.
"""

import argparse
from functools import partial
from pathlib import Path

from amd.config import Params
from amd.models.semantic import SCRATCH
from amd.runtime.files import read_json, sha256
from amd.runtime.tracking import Run
from stages import run_stage
from stages.trainings import run_training, start_file

MODELS = Path("models/semantic")
MODEL, HISTORY = "model.safetensors", "history.json"
NO_DATASET = "semantic.root is empty: no dataset to fine-tune on"


def main(start: str, augmentation: str, seed: int, params: Params, run: Run) -> None:
    """Fine-tune, or go on after an interruption."""
    out = MODELS / f"{start}-{augmentation}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    if params.semantic.root is None:
        print(f"semantic: skipped; {NO_DATASET}")
        return
    files = {entry.name: entry.file for entry in params.semantic.starts}
    weights = start_file(files.get(start), "semantic.starts")
    options = {"--name": start, "--start": weights, "--augmentation": augmentation, "--seed": seed}
    options |= {"--out": out / MODEL, "--history": out / HISTORY}
    made_from = [
        params.model.model_dump(),
        params.semantic.model_dump(exclude={"starts", "augmentations", "seeds"}),
        sha256(weights) if weights else SCRATCH,
        [start, augmentation, seed],
    ]
    run_training("semantic", params, made_from, options)
    last = read_json(out / HISTORY)["curve"][-1]
    run.metrics({"loss": last["loss"], "accuracy": last["accuracy"]})
    run.artifact(out / HISTORY)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.semantic", description="One fine-tuning.")
    parser.add_argument("start", help=f"{SCRATCH}, or the name of one of params.semantic.starts")
    parser.add_argument("augmentation", choices=("light", "heavy"))
    parser.add_argument("seed", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = vars(options())
    run_stage("semantic_" + "_".join(map(str, chosen.values())), partial(main, *chosen.values()))
