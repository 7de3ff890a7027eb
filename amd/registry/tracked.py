"""What MLflow shows of a version beside its files: the data it learned from, its scores, and that it is registered.

Input: the run that registers, the logged model, facts. Output: records of MLflow 3: a dataset of the run and of the
pipeline's run, metrics of the logged model, its tag of versions. Through the client, past MLflow's global state.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_MODEL_VERSIONS
from mlflow.utils.time import get_current_time_millis

from amd.runtime.tracking import Run

DIGEST = 32  # characters of a hash; MLflow takes 36
REGISTERED_TAG = "registered"  # of the pipeline's run


def training_data(name: str, hash_: str, profile: Mapping[str, Any]) -> Dataset:
    """A dataset as MLflow names it: the place the data is at, its hash, and numbers of what is in it."""
    return Dataset(name, hash_[:DIGEST], "local", json.dumps({"uri": name}), profile=json.dumps(dict(profile)))


def log_data(run: Run, *datasets: Dataset) -> None:
    """Say of a run and of its pipeline's what they trained on."""
    inputs = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")]) for dataset in datasets]
    for each in {run.id: run, run.parent().id: run.parent()}.values():
        each.client.log_inputs(each.id, inputs)


def log_model_metrics(run: Run, model_id: str, values: Mapping[str, Any]) -> None:
    """Give a logged model its scores: the finite numbers of `values`, nested ones with dots."""
    now = get_current_time_millis()
    found = [(name, value) for name, value in _numbers(values) if math.isfinite(value)]
    run.client.log_batch(
        run.id, [Metric(name, value, now, 0, model_id=model_id, run_id=run.id) for name, value in found]
    )


def show_registered(run: Run, version: ModelVersion, model_id: str) -> None:
    """Let the logged model and the pipeline's run say which version they became."""
    record = [{"name": version.name, "version": str(version.version)}]
    run.client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(record)})
    run.parent().tags({REGISTERED_TAG: f"models:/{version.name}/{version.version}"})


def _numbers(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{prefix}{key}", float(value)))
    return found
