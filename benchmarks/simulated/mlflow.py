"""MLflow's SQLite store: a nested run per video as flows.programs.adapt_video logs it, a tenth as many as videos."""

import os
from pathlib import Path

from amd.runtime.tracking import nested_run, stage_run
from benchmarks.simulated import Sizes, Step


def steps(sizes: Sizes) -> list[Step]:
    """The steps of the part."""
    return [
        Step("set up", _set_up),
        Step("mlflow: a nested run a video", _log, sizes.videos // 10, "mlflow.db*"),
    ]


def _set_up(_: Sizes) -> None:
    with stage_run("adapt", {}):
        pass


def _log(sizes: Sizes) -> None:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if not Path("mlflow.db").exists():
        raise RuntimeError("the store is not in this folder")
    with stage_run("adapt", {}) as stage:
        for number in range(sizes.videos // 10):
            with nested_run(stage.client, stage.id, f"video-{number:06d}") as run:
                run.metrics({"seconds": 0.1, "iterations": 100, "first_loss": 0.2, "last_loss": 0.1})
