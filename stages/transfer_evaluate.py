"""Stage transfer_evaluate: J and F of the masks by Instance Embedding Transfer.

Input: predictions/transfer, the benchmark. Output: metrics/transfer.json.
"""

from pathlib import Path

from amd.config import Params
from amd.data.benchmarks.davis import open_benchmark
from amd.data.benchmarks.predictions import masks_folder
from amd.evaluation.published import PUBLISHED, transfer_note
from amd.evaluation.transfer_videos import open_features
from amd.evaluation.vos import score_masks
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from stages import run_stage
from stages.transfer_predict import OUT

SCORES = Path("metrics/transfer.json")
POST_PROCESSING = {"plain": "none", "crf": "dense CRF"}


def main(params: Params, run: Run) -> None:
    """Score both kinds of masks, with the supervision behind them."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    features = open_features(params.transfer.features, f"models/{params.transfer.features}.safetensors")
    scores = {}
    for kind, post_processing in POST_PROCESSING.items():
        origin = {
            "object": "the best track of seeds over the whole video, without the benchmark's labels",
            "threshold": "probability above 0.5",
            "post_processing": post_processing,
            "features": params.transfer.features,
            "cues": params.transfer.cues,
            "supervision": features.supervision,
        }
        scores[kind] = score_masks(sequences, masks_folder(OUT / kind, params.data.benchmark), origin)
    write_json(SCORES, _report(scores) | {"published": PUBLISHED["crf"] | transfer_note("crf", sequences)})
    for kind, result in scores.items():
        run.metrics({f"{kind}_{measure}": result["mean"][measure]["mean"] for measure in "JF"})
    run.artifact(SCORES)


def _report(scores: dict[str, dict]) -> dict:
    """Both kinds side by side, in the mean and by sequence."""
    names = next(iter(scores.values()))["sequences"]
    means = lambda result, name: {measure: result["sequences"][name][measure]["mean"] for measure in "JF"}
    sides = {key: {kind: result[key] for kind, result in scores.items()} for key in ("protocol", "mean")}
    rows = {name: {kind: means(result, name) for kind, result in scores.items()} for name in names}
    return sides | {"sequences": rows}


if __name__ == "__main__":
    run_stage("transfer_evaluate", main)
