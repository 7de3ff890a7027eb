"""Stage transfer_experiments: the paper's ablations on the benchmark.

Input: models/embedding.safetensors (or amd.safetensors, by transfer.features), the benchmark, params.transfer and crf.
Output: metrics/transfer_experiments.json and .png.
"""

from pathlib import Path

from amd.config import Params
from amd.data.benchmarks.davis import open_benchmark
from amd.evaluation.transfer import compare_features, run_experiments, with_semantic
from amd.evaluation.transfer_figures import write_experiment_figure
from amd.evaluation.transfer_videos import open_features
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from stages import run_stage

NAMES = ["intervals", "rankings", "annotated", "drift"]
SCORES, FIGURE = Path("metrics/transfer_experiments.json"), Path("metrics/transfer_experiments.png")


def main(params: Params, run: Run) -> None:
    """Run every experiment; features of AMD have no semantic side to compare with."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    features = open_features(params.transfer.features, f"models/{params.transfer.features}.safetensors")
    reports = run_experiments(NAMES, sequences, features, params.transfer, params.crf)
    if params.transfer.features == "embedding":
        reports["features"] = compare_features(sequences, with_semantic(features), params.transfer, params.crf)
    write_json(SCORES, by_part(reports))
    write_experiment_figure(FIGURE, reports)
    for name, report in reports.items():
        means = report["mean"].items()
        run.metrics({f"{name}_{variant}_J": scores["J"] for variant, scores in means if "J" in scores})
    run.artifact(SCORES, FIGURE)


def by_part(reports: dict[str, dict]) -> dict[str, dict]:
    """Reports by experiment as one by part: protocol and published apart from the means, as on the report's page."""
    return {
        "protocol": {name: report["protocol"] for name, report in reports.items()},
        "published": {name: report["published"] for name, report in reports.items()},
        **{name: report["mean"] for name, report in reports.items() if name != "drift"},
        "curve": {name: reports[name]["mean"] for name in ("drift",)},
        "sequences": {name: report["sequences"] for name, report in reports.items() if name != "drift"},
    }


if __name__ == "__main__":
    run_stage("transfer_experiments", main)
