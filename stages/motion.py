"""Stage motion: the network of motion evidence, trained on layered clips without a label.

Input: params.motion, the folder in motion.textures. Output: models/evidence.safetensors,
metrics/motion.json (its card).
"""

from pathlib import Path

from amd.config import Motion, Params
from amd.evaluation.evidence import benchmark_scores
from amd.models.evidence import load_evidence
from amd.runtime.files import read_json, write_json
from amd.runtime.tracking import Run
from amd.training.distributed import join_processes
from amd.training.motion import make_clips
from stages import run_stage
from stages.trainings import run_training, texture_files

WEIGHTS = Path("models/evidence.safetensors")
CARD = Path("metrics/motion.json")
CLIPS = Path("data/motion")  # the cache of clips' flows
SCHEDULING = {"workers", "checkpoint_every", "device"}  # what weights do not depend on
BENCHMARK = "davis2016"


def main(params: Params, run: Run) -> None:
    """Train, or go on training after an interruption; score on the benchmark where it is one of DAVIS."""
    settings = params.motion
    made = made_from(settings)
    make_clips(settings, CLIPS)
    run_training("motion", params, made, {"--clips": CLIPS, "--out": WEIGHTS, "--history": CARD})
    card = read_json(CARD)
    if params.data.benchmark == BENCHMARK:
        with join_processes(settings.device) as process:
            network, info = load_evidence(WEIGHTS, process.device)
            card["scores"][BENCHMARK] = benchmark_scores(network, info, Path(params.data.benchmark_root))
        write_json(CARD, card)
    run.metrics({key: value for key, value in card["scores"].items() if isinstance(value, float)})
    run.artifact(CARD)


def made_from(settings: Motion) -> list:
    """What a training is made from: parameters, and the files of textures by name and content.

    Raises UserError when the folder of textures is not there.
    """
    files = texture_files(settings.textures, "motion.textures")
    return [settings.model_dump(mode="json", exclude=SCHEDULING), files]


if __name__ == "__main__":
    run_stage("motion", main)
