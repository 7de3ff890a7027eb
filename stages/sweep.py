"""Stage sweep: one pretraining with another number of segments, as pipelines/sweep/dvc.yaml names it.

Input: the shards of the pipeline, params.yaml, and the number on the command line. Output: models/sweep/c<number>/ with
the checkpoint, whose object segment is chosen as ever, the history of the training, and the parameters that made it.
"""

import argparse
import io
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

from amd.config import Params
from amd.runtime.files import read_json, write_text
from amd.runtime.tracking import Run
from amd.training.choosing import store_object
from amd.training.launching import made_from
from stages import run_stage
from stages.pretrain import INDEX
from stages.trainings import run_training

MODELS = Path("models/sweep")
CHECKPOINT, HISTORY = "amd.safetensors", "history.json"


def main(segments: int, params: Params, run: Run) -> None:
    """Pretrain, or go on after an interruption, and choose the object segment."""
    params = with_segments(params, segments)
    out = model_folder(segments)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "params.yaml", as_yaml(params))
    trained = out / "pretrained.safetensors"
    options = {"--params": out / "params.yaml", "--index": INDEX, "--out": trained, "--history": out / HISTORY}
    choose = partial(store_object, trained, out / CHECKPOINT, params, INDEX)
    run_training("pretrain", params, made_from(params, INDEX), options, choose)
    trained.unlink()
    run.metrics({"loss": read_json(out / HISTORY)["loss"], "segments": segments})
    run.artifact(out / HISTORY)


def with_segments(params: Params, segments: int) -> Params:
    """The parameters of a pretraining from scratch with `segments` segments and the sweep's iterations."""
    iterations = params.sweep.iterations or params.pretrain.iterations
    pretrain = params.pretrain.model_copy(update={"iterations": iterations, "start": None})
    model = params.model.model_copy(update={"segments": segments})
    return params.model_copy(update={"model": model, "pretrain": pretrain})


def model_folder(segments: int) -> Path:
    """Where the model with `segments` segments lies."""
    return MODELS / f"c{segments}"


def as_yaml(params: Params) -> str:
    """The text of a parameter file."""
    text = io.StringIO()
    YAML(typ="safe").dump(params.model_dump(by_alias=True), text)
    return text.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.sweep", description="One pretraining of the sweep.")
    parser.add_argument("segments", type=int, help="the number of segments")
    number = parser.parse_args().segments
    run_stage(f"sweep_c{number}", partial(main, number))
