"""Stage register: the model becomes a version in the registry, the champion if the gates let it through.

Input: models/amd.safetensors, data/manifest.parquet, metrics/*, report/report.html, params.register. Output:
metrics/register.json.
"""

from pathlib import Path

from amd.config import Params
from amd.registry import register
from amd.registry.registration import Registration
from amd.runtime.files import read_json, write_json
from amd.runtime.registered import CHAMPION
from amd.runtime.tracking import Run
from stages import locked_hashes, run_stage


def main(params: Params, run: Run) -> None:
    """Register, and keep all metrics and the report with the run."""
    result = register(
        Path("models/amd.safetensors"),
        scores=read_json("metrics/vos.json"),
        training=read_json("metrics/pretrain.json"),
        settings=params.register_,
        run=run,
        data_hash=locked_hashes().get(params.data.benchmark_root),
        manifest=Path("data/manifest.parquet"),
    )
    tell(result, "metrics/register.json")
    run.artifact("metrics", folder="metrics")
    run.artifact("report/report.html", folder="report")


def tell(result: Registration, path: str) -> None:
    """Write what the gates said, and print it."""
    alias = CHAMPION if result.promoted else None
    outcome = {"name": result.name, "version": result.version, "alias": alias, "promoted": result.promoted}
    write_json(path, outcome | {"reason": result.reason, "uri": result.uri})
    print(f"{result.uri} {'is now the champion' if result.promoted else 'is not the champion'}: {result.reason}")


if __name__ == "__main__":
    run_stage("register", main)
