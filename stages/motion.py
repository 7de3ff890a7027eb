"""Stage motion: the network of motion evidence, trained on layered clips without a label.

params: motion; deps: the folder in motion.textures; outs: models/evidence.safetensors, metrics/motion.json (its card).
"""

import json
from pathlib import Path

from amd.config.motion import Motion
from amd.distributed import process_group
from amd.errors import UserError
from amd.evaluation.evidence import benchmark_scores
from amd.files import read_json, sha256, write_json
from amd.models.evidence import load_evidence
from amd.motion_training import load_settings, make_clips
from amd.params import Params
from amd.tracking import Run
from stages import input_tags, run_stage
from stages.trainings import run_training

WEIGHTS = Path("models/evidence.safetensors")
CARD = Path("metrics/motion.json")
CLIPS = Path("data/motion")  # the cache of clips' flows
SCHEDULING = {"workers", "checkpoint_every", "device"}  # what weights do not depend on
BENCHMARK = "davis2016"


def main(params: Params, run: Run) -> None:
    """Train, or go on training after an interruption; score on the benchmark where it is one of DAVIS."""
    settings = load_settings(Path("params.yaml"))
    options = {"--clips": CLIPS, "--out": WEIGHTS, "--card": CARD, "--lineage": json.dumps(input_tags(params))}
    made = made_from(settings)
    make_clips(settings, CLIPS)
    run_training("amd.motion_training", made, options, settings.processes)
    card = read_json(CARD)
    if params.data.benchmark == BENCHMARK:
        with process_group(settings.device) as process:
            network, info = load_evidence(WEIGHTS, process.device)
            card["scores"][BENCHMARK] = benchmark_scores(network, info, Path(params.data.benchmark_root))
        write_json(CARD, card)
    run.metrics({key: value for key, value in card["scores"].items() if isinstance(value, float)})
    run.artifact(CARD)


def made_from(settings: Motion) -> list:
    """What a training is made from: parameters, and the files of textures by name and content.

    Raises UserError when the folder of textures is not there.
    """
    folder = settings.textures
    if folder is not None and not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder; motion.textures names one of images or videos, or nothing")
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder is not None else []
    return [settings.model_dump(mode="json", exclude=SCHEDULING), [[path.name, sha256(path)] for path in files]]


if __name__ == "__main__":
    run_stage("motion", main)
