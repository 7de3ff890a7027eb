"""MLflow runs: one parent per pipeline run, nested runs per stage and per adapted video, with their lineage.

The parent is found again by a tag: AMD_PIPELINE_RUN where a flow or a script sets it, else the `dvc` process that
the stages run under; a stage started by hand is a pipeline run of its own. The store is MLFLOW_TRACKING_URI, or
SQLite in the project's folder.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.time import get_current_time_millis
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from amd.errors import UserError
from amd.params import Params

EXPERIMENT = "amd"
PIPELINE_TAG = "amd.pipeline"
STAGE_TAG = "amd.stage"
PIPELINE_VARIABLE = "AMD_PIPELINE_RUN"
RUN_VARIABLE = "AMD_MLFLOW_RUN"  # tells a child process which run to log to
VERSIONS = ("torch", "numpy", "dvc", "prefect", "mlflow-skinny", "decord", "webdataset", "pyarrow")


@dataclass(frozen=True)
class Run:
    """An MLflow run to log to; safe from several threads."""

    client: MlflowClient
    id: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, nested ones with dots."""
        flat = [Param(key, str(value)) for key, value in _flatten(values)]
        self.client.log_batch(self.id, params=flat)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at a step."""
        now = get_current_time_millis()
        self.client.log_batch(self.id, [Metric(key, float(value), now, step) for key, value in values.items()])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.id, tags=[RunTag(key, str(value)) for key, value in values.items()])

    def artifact(self, path: Path | str, folder: str | None = None) -> None:
        """Store a file, or the files of a folder."""
        store = self.client.log_artifacts if Path(path).is_dir() else self.client.log_artifact
        store(self.id, str(path), folder)

    def picture(self, image: np.ndarray, name: str) -> None:
        """Store an RGB image uint8 H,W,3 as a PNG artifact."""
        self.client.log_image(self.id, Image.fromarray(image), artifact_file=name)


def connect(create: bool = True) -> MlflowClient:
    """A client of the configured store; a new SQLite store is set up under a lock, once.

    Its artifacts lie beside the database, wherever it is used from. Without `create` a store has to be there.
    Raises UserError for a store that is not, or that cannot be opened.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"
    database = _database(uri)
    if not create and database and not database.exists():
        raise UserError(f"{database}: no such MLflow store; run in the project's folder or set MLFLOW_TRACKING_URI")
    try:
        with _store_lock(uri):
            client = MlflowClient(uri)  # makes the tables
            if client.get_experiment_by_name(EXPERIMENT) is None:
                location = str(database.parent / "mlartifacts") if database else None
                client.create_experiment(EXPERIMENT, artifact_location=location)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        message = f"MLflow store {uri}: {str(error).splitlines()[0]}"
        raise UserError(re.sub(r"//[^/@\s]*@", "//", message)) from None  # without a password
    return client


@contextmanager
def stage_run(stage: str, params: Mapping[str, Any], lineage: Mapping[str, str] | None = None) -> Iterator[Run]:
    """A nested run of one stage under the pipeline's run; FAILED if the body raises."""
    client = connect()
    parent = pipeline_run(client)
    client.update_run(parent.id, status=RunStatus.to_string(RunStatus.RUNNING))
    try:
        with nested_run(client, parent.id, stage) as run:
            run.tags({STAGE_TAG: stage, **(lineage or {})})
            run.params(params)
            yield run
    except BaseException:
        client.set_terminated(parent.id, RunStatus.to_string(RunStatus.FAILED))
        raise
    client.set_terminated(parent.id)


@contextmanager
def nested_run(client: MlflowClient, parent: str, name: str) -> Iterator[Run]:
    """A run below `parent` that ends with the body; children of this process may attach to it."""
    created = client.create_run(_experiment(client), tags={MLFLOW_PARENT_RUN_ID: parent}, run_name=name)
    run = Run(client, created.info.run_id)
    outer = os.environ.get(RUN_VARIABLE)
    os.environ[RUN_VARIABLE] = run.id
    try:
        yield run
    except BaseException:
        client.set_terminated(run.id, RunStatus.to_string(RunStatus.FAILED))
        raise
    finally:
        if outer is None:
            os.environ.pop(RUN_VARIABLE, None)
        else:
            os.environ[RUN_VARIABLE] = outer
    client.set_terminated(run.id)


def attached_run() -> Run | None:
    """The run that the parent process named, if any."""
    run_id = os.environ.get(RUN_VARIABLE)
    return Run(connect(), run_id) if run_id else None


def pipeline_run(client: MlflowClient) -> Run:
    """The parent run of this pipeline run, created when it is the first to ask."""
    key = os.environ.get(PIPELINE_VARIABLE) or _dvc_process() or f"by-hand-{uuid.uuid4().hex}"
    with _store_lock(client.tracking_uri):
        experiment = _experiment(client)
        found = client.search_runs([experiment], f"tags.`{PIPELINE_TAG}` = '{key}'", max_results=1)
        if found:
            return Run(client, found[0].info.run_id)
        run = Run(client, client.create_run(experiment, run_name="pipeline").info.run_id)
        run.tags({PIPELINE_TAG: key, **git_tags(), **version_tags()})
        return run


def git_tags() -> dict[str, str]:
    """The commit and whether tracked files were changed; empty outside a git repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def version_tags() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on; a package that is not installed has none."""
    tags = {"version.python": platform.python_version()}
    for name in VERSIONS:
        with suppress(PackageNotFoundError):  # decord, where it has no wheel
            tags[f"version.{name}"] = version(name)
    return tags


def params_hash(params: Params) -> str:
    """SHA-256 of the parameters' values."""
    return hashlib.sha256(json.dumps(params.model_dump(), sort_keys=True).encode()).hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _experiment(client: MlflowClient) -> str:
    return client.get_experiment_by_name(EXPERIMENT).experiment_id


def _dvc_process() -> str | None:
    """The `dvc repro` that this process runs under, by start time, since process numbers come again."""
    for ancestor in psutil.Process().parents():
        with suppress(psutil.Error):  # some systems hide other users' processes
            if any(Path(word).name in ("dvc", "dvc.exe") for word in ancestor.cmdline()[:3]):
                return f"dvc-{platform.node()}-{ancestor.pid}-{ancestor.create_time():.2f}"
    return None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@contextmanager
def _store_lock(uri: str) -> Iterator[None]:
    """Processes take turns where MLflow would race: beside an SQLite database, else those of this folder."""
    database = _database(uri)
    path = database.with_name(f"{database.name}.lock") if database else Path(".amd/locks/mlflow")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _database(uri: str) -> Path | None:
    """The file of an SQLite store; None for a store of another kind."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(match[1]).resolve() if match else None
