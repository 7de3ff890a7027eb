"""Stage evaluate_vos: J and F of the predictions, per image and adapted.

Input: predictions/image, predictions/adapted, the benchmark. Output: metrics/vos.json, metrics/vos.parquet.
"""

from pathlib import Path

from amd.config import Params
from amd.data.benchmarks.davis import open_benchmark
from amd.data.tables import SCORES, write_table
from amd.evaluation.published import published_vos
from amd.evaluation.vos import score_baselines, score_moving, score_run
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from stages import run_stage
from stages.receipts import MOVING

PREDICTIONS = {"image": Path("predictions/image"), "adapted": Path("predictions/adapted")}
MOVING_ROOT = Path("predictions/adapted")  # the same videos, segmented by what moves


def main(params: Params, run: Run) -> None:
    """Score both kinds of prediction, label-free and with the oracle's segment."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    report, rows = score_run(sequences, PREDICTIONS, params.model.segments)
    report["baselines"], baseline_rows = score_baselines(sequences)
    dataset = params.data.benchmark
    report["moving"], moving_rows = score_moving(sequences, {kind: MOVING_ROOT / kind / dataset for kind in MOVING})
    report["published"] = published_vos(sequences)
    write_json("metrics/vos.json", report)
    write_table("metrics/vos.parquet", SCORES, rows + moving_rows + baseline_rows)
    for prediction, scores in report["summary"].items():
        run.metrics({f"{prediction}_{name}": value for name, value in scores.items() if value is not None})
    run.artifact("metrics/vos.json", "metrics/vos.parquet")


if __name__ == "__main__":
    run_stage("evaluate_vos", main)
