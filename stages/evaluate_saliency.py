"""Stage evaluate_saliency: the soft mask of the object segment as a saliency map.

Input: models/amd.safetensors, data.saliency with its root. Output: metrics/saliency.json and .png.
"""

from pathlib import Path

from amd.config import Params
from amd.evaluation.saliency import evaluate_saliency, model_maps
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from stages import run_stage
from stages.skipping import skip

CHECKPOINT = Path("models/amd.safetensors")
REPORT, PICTURES = Path("metrics/saliency.json"), Path("metrics/saliency.png")


def main(params: Params, run: Run) -> None:
    """Score params.data.saliency; say so where no dataset is configured."""
    data = params.data
    if data.saliency_root is None:
        skip("evaluate_saliency", "data.saliency_root is empty: no images with masks", REPORT, [PICTURES])
        return
    scores = evaluate_saliency(data.saliency, data.saliency_root, *model_maps(str(CHECKPOINT)), PICTURES)
    write_json(REPORT, scores)
    run.metrics({f"F_{name}": value for name, value in scores["F"].items()} | {"MAE": scores["MAE"]})
    run.artifact(REPORT, PICTURES)


if __name__ == "__main__":
    run_stage("evaluate_saliency", main)
