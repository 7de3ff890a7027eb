"""Stage evaluate_features: foreground against background in the backbone's features.

Input: models/amd.safetensors, the benchmark, params.features. Output: metrics/features.json and .png.
"""

from pathlib import Path

from amd.config import Params
from amd.evaluation.features import run_features
from amd.runtime.tracking import Run
from stages import run_stage

CHECKPOINT = Path("models/amd.safetensors")
OUT = Path("metrics")


def main(params: Params, run: Run) -> None:
    """Write metrics/features.json and metrics/features.png."""
    data = params.data
    report = run_features(data.benchmark, Path(data.benchmark_root), params.features, OUT, model=str(CHECKPOINT))
    probe = report["probe_accuracy"]["mean"]
    run.metrics({"silhouette": report["silhouette"]} | ({} if probe is None else {"probe_accuracy": probe}))
    run.artifact(OUT / "features.json", OUT / "features.png")


if __name__ == "__main__":
    run_stage("evaluate_features", main)
