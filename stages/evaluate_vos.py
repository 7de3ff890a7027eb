"""Stage evaluate_vos: predictions per image and adapted → J and F as metrics/vos.json and vos.parquet."""

from pathlib import Path

from amd.data.benchmarks import open_benchmark
from amd.evaluation.vos import score_run
from amd.files import write_json
from amd.params import load_params
from amd.tables import SCORES, write_table

PREDICTIONS = {"image": Path("predictions/image"), "adapted": Path("predictions/adapted")}


def main() -> None:
    """Score both kinds of prediction, label-free and with the oracle's segment."""
    params = load_params()
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    report, rows = score_run(sequences, PREDICTIONS, params.model.segments)
    write_json("metrics/vos.json", report)
    write_table("metrics/vos.parquet", SCORES, rows)


if __name__ == "__main__":
    main()
