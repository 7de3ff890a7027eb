"""Score a model on one benchmark, each image on its own: the program that flows.evaluate runs once a benchmark.

Input: a checkpoint, a benchmark. Output, in --out: predictions, kept for a rerun, and scores.json (J and F with
protocol).
"""

import argparse
from pathlib import Path

from amd.config import DEFAULT_PATH, load_params
from amd.data.benchmarks.davis import open_benchmark
from amd.data.benchmarks.predictions import masks_folder
from amd.evaluation.vos import LABEL_FREE, score_masks
from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import write_json
from stages.predict import predict
from stages.receipts import discard_others


@exit_on_user_error
def main() -> None:
    """Read the command line, segment, score."""
    options = _options()
    sequences = open_benchmark(options.dataset, options.root)
    discard_others(options.out, options.dataset, {sequence.name for sequence in sequences})
    predict(options.checkpoint, sequences, load_params(options.params).predict, options.out)
    scores = score_masks(sequences, masks_folder(options.out, options.dataset), LABEL_FREE)
    write_json(options.out / "scores.json", scores)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.programs.evaluate_model", description="Score a model.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", required=True, help="benchmark, such as davis2016")
    parser.add_argument("--root", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--out", type=Path, required=True, help="folder of predictions and scores")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
