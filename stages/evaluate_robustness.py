"""Stage evaluate_robustness: scores on the benchmark inverted, blurred and otherwise corrupted.

Input: models/amd.safetensors, the benchmark, params.robustness. Output: metrics/robustness.json and .png.
"""

from pathlib import Path

from amd.config import Params
from amd.data.benchmarks.davis import open_benchmark
from amd.evaluation.corruptions import versions
from amd.evaluation.robustness import model_masks, score_robustness, write_corruption_sheet
from amd.evaluation.vos import LABEL_FREE
from amd.runtime.files import write_json
from amd.runtime.processes import free_threads, limit_threads
from amd.runtime.tracking import Run
from stages import run_stage

CHECKPOINT = "models/amd.safetensors"
SCORES, SHEET = Path("metrics/robustness.json"), Path("metrics/robustness.png")
PICTURED = 6  # sequences


def main(params: Params, run: Run) -> None:
    """Score and picture the frames as they are and under every corruption."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    made, masks = versions(sequences, params.robustness), model_masks(CHECKPOINT)
    threads = free_threads()
    limit_threads(1)  # of each frame: it is too small to share
    report = score_robustness(made, lambda name: masks, threads)
    report["protocol"] |= LABEL_FREE | {"strengths": params.robustness.model_dump()}
    write_json(SCORES, report)
    write_corruption_sheet(SHEET, sequences[:PICTURED], made, lambda name: masks)
    for version, scores in report["scores"].items():
        run.metrics({f"{version}_{name}": value for name, value in scores.items() if value is not None})
    run.artifact(SCORES, SHEET)


if __name__ == "__main__":
    run_stage("evaluate_robustness", main)
