"""Stage evaluate_robustness: the benchmark inverted and blurred, as metrics/robustness.json and a sheet of pictures."""

from dataclasses import asdict
from pathlib import Path

import torch

from amd.checkpoint import load_checkpoint
from amd.data.benchmarks import open_benchmark
from amd.evaluation.corruptions import Strengths
from amd.evaluation.robustness import model_segmenter, score_robustness, write_sheet
from amd.files import write_json
from amd.params import Params
from amd.tracking import Run
from stages import run_stage

CHECKPOINT = Path("models/amd.safetensors")
SHEET = Path("metrics/robustness.png")
PICTURED = 6  # sequences


def main(params: Params, run: Run) -> None:
    """Score and picture the frames as they are and under every corruption."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    model, info = load_checkpoint(CHECKPOINT)
    segment = model_segmenter(model.to("cuda" if torch.cuda.is_available() else "cpu"), info)
    strengths = Strengths()
    corruptions = strengths.slides() | strengths.further()
    report = score_robustness(sequences, segment, corruptions)
    report["protocol"]["strengths"] = asdict(strengths)
    write_json("metrics/robustness.json", report)
    write_sheet(SHEET, sequences[:PICTURED], segment, corruptions)
    for version, scores in report["scores"].items():
        run.metrics({f"{version}_{name}": value for name, value in scores.items() if value is not None})
    run.artifact("metrics/robustness.json")
    run.artifact(SHEET)


if __name__ == "__main__":
    run_stage("evaluate_robustness", main)
