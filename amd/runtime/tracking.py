"""MLflow runs: one parent per pipeline run, nested runs per stage and per adapted video, with their lineage.

The parent is found again by a tag, the run's id (amd.runtime.logs.run_id): AMD_RUN_ID where a flow or a script sets
it, else the `dvc` process that the stages run under; a stage started by hand is a pipeline run of its own. The store
is MLFLOW_TRACKING_URI, or SQLite in the project's folder.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.time import get_current_time_millis
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path, file_lock
from amd.runtime.lineage import SHORT, git_tags, source_tags, version_tags
from amd.runtime.logs import RUN_VARIABLE, run_id
from amd.runtime.processes import environment, identity, is_alive, is_of_this_machine
from amd.runtime.store import (
    EXPERIMENT,
    VARIABLE,
    artifacts_of,
    database_of,
    require_answer,
    require_in_place,
    store_uri,
    without_password,
)

PIPELINE_TAG = "amd.pipeline"
STAGE_TAG = "amd.stage"
PROCESS_TAG = "amd.process"  # who will end a run, as amd.runtime.processes.identity
BATCH = 100  # parameters or tags that MLflow takes at once
FLUSHED = "(raised as a result of"  # SQLAlchemy's words before the reason, of a write that it chose the time of
LINEAGE_NAME = "lineage.json"  # artifact of a stage's run: a hash of every input and output of the pipeline

# It tells of every new store's tables, and gives a traceback of what it then raises (see store_errors).
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Run:
    """An MLflow run to log to; safe from several threads."""

    client: MlflowClient
    id: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, nested ones with dots."""
        flat = [Param(key, str(value)) for key, value in _flatten(values)]
        for start in range(0, len(flat), BATCH):
            self.client.log_batch(self.id, params=flat[start : start + BATCH])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at a step."""
        now = get_current_time_millis()
        self.client.log_batch(self.id, [Metric(key, float(value), now, step) for key, value in values.items()])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        tags = [RunTag(key, str(value)) for key, value in values.items()]
        for start in range(0, len(tags), BATCH):
            self.client.log_batch(self.id, tags=tags[start : start + BATCH])

    def artifact(self, *paths: Path | str, folder: str | None = None) -> None:
        """Store files, or the files of folders, below `folder`."""
        for path in paths:
            store = self.client.log_artifacts if Path(path).is_dir() else self.client.log_artifact
            store(self.id, str(path), folder)

    def json(self, value: Any, name: str) -> None:
        """Store plain data as a JSON artifact."""
        self.client.log_dict(self.id, value, name)

    def parent(self) -> "Run":
        """The run that this one is nested in, or itself."""
        tags = self.client.get_run(self.id).data.tags
        return Run(self.client, tags.get(MLFLOW_PARENT_RUN_ID, self.id))

    def picture(self, image: np.ndarray, name: str) -> None:
        """Store an RGB image uint8 H,W,3 as a PNG artifact."""
        self.client.log_image(self.id, Image.fromarray(image), artifact_file=name)


@dataclass(frozen=True)
class About:
    """What a pipeline run is, for people who see it in a list."""

    what: str  # the profile, or the flow
    changes: Mapping[str, Any] = field(default_factory=dict)  # parameters that differ from the defaults


def connect(create: bool = True) -> MlflowClient:
    """A client of the configured store; a new SQLite store is set up under a lock, once.

    Its artifacts lie beside the database, wherever it is used from. Without `create` a store has to be there.
    Raises UserError for a store that is not, that is gone, that was copied or moved, or that cannot be opened.
    """
    uri = store_uri()
    database = database_of(uri)
    if database is None:
        require_answer(uri, VARIABLE)
    if not create and database and not database.exists():
        raise UserError(f"{database}: no such MLflow store; run in the project's folder or set MLFLOW_TRACKING_URI")
    try:
        with store_errors(uri), _store_lock(uri):
            if database and not database.exists():
                _require_new(database)
                _make_database(database)
            if database:
                require_in_place(database)
            client = _open_store(uri, database)
            if database:
                _remember(database)
            return client
    except OSError as error:
        raise _store_error(uri, error) from None


@contextmanager
def as_default(client: MlflowClient) -> Iterator[None]:
    """Make the client's store MLflow's own for the body: it looks logged models up by global state.

    Its default is the folder's database with a percent-encoded path, which is another folder where that has a blank.
    """
    with environment(**{VARIABLE: client.tracking_uri}):
        yield


def _require_new(database: Path) -> None:
    """A new database in the place of one that is away for a while would be lost when that one comes back."""
    artifacts = artifacts_of(database)
    if artifacts.is_dir() and any(artifacts.iterdir()):
        raise UserError(
            f"{database}: this MLflow store is gone, its artifacts are in {artifacts}; bring it back, or move "
            "them away to begin a new one"
        )


def _remember(database: Path) -> None:
    """Leave among the artifacts, also where there are none yet, that this database exists."""
    mark = artifacts_of(database) / f".{database.name}"
    if not mark.exists():
        mark.parent.mkdir(exist_ok=True)
        mark.touch()


def _make_database(path: Path) -> None:
    """An SQLite store that is whole or absent: MLflow cannot go on with tables that were made half."""
    for left in path.parent.glob(f".{path.name}.*.part*"):  # by one that was killed; this one holds the lock
        left.unlink()
    with atomic_path(path) as part:
        _open_store(f"sqlite:///{part}", path)


def _open_store(uri: str, database: Path | None) -> MlflowClient:
    client = MlflowClient(uri)  # makes the tables
    if client.get_experiment_by_name(EXPERIMENT) is None:
        location = str(artifacts_of(database)) if database else None
        client.create_experiment(EXPERIMENT, artifact_location=location)
    return client


@contextmanager
def stage_run(
    stage: str,
    params: Mapping[str, Any],
    lineage: Mapping[str, str] | None = None,
    about: Callable[[], About] | None = None,
) -> Iterator[Run]:
    """A nested run of one stage under the pipeline's run; FAILED if the body raises.

    `lineage` are tags; `about` is asked when the pipeline's run is new.
    """
    client = connect()
    with store_errors(client.tracking_uri):
        end_abandoned(client)
        parent = pipeline_run(client, about or (lambda: About(stage)))
        parent.tags(_owner())
        client.update_run(parent.id, status=RunStatus.to_string(RunStatus.RUNNING))
        with _ending(client, parent.id), nested_run(client, parent.id, stage) as run:
            run.tags({STAGE_TAG: stage, **(lineage or {})})
            run.params(params)
            yield run
            end_abandoned(client)  # of this stage's workers


@contextmanager
def nested_run(client: MlflowClient, parent: str, name: str) -> Iterator[Run]:
    """A run below `parent` that ends with the body; children of this process may attach to it."""
    with store_errors(client.tracking_uri):
        created = client.create_run(_experiment(client), tags={MLFLOW_PARENT_RUN_ID: parent, **_owner()}, run_name=name)
        run = Run(client, created.info.run_id)
        with environment(**{RUN_VARIABLE: run.id}), _ending(client, run.id):
            yield run


def end_abandoned(client: MlflowClient) -> None:
    """Mark as KILLED every run whose process is gone without ending it; of this machine, for it alone can tell."""
    running = f"attributes.status = '{RunStatus.to_string(RunStatus.RUNNING)}'"
    for run in client.search_runs([_experiment(client)], running, max_results=1000):
        owner = run.data.tags.get(PROCESS_TAG)
        if owner and is_of_this_machine(owner) and not is_alive(owner):
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """What goes wrong in the store, a lock or a server that is gone, as a UserError."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise _store_error(uri, error) from None


def _store_error(uri: str, error: Exception) -> UserError:
    lines = [line for line in str(error).splitlines() if not line.startswith(FLUSHED)]
    return UserError(without_password(f"MLflow store {uri}: {lines[0] if lines else type(error).__name__}", uri))


@contextmanager
def _ending(client: MlflowClient, run_id: str) -> Iterator[None]:
    """End a run with the body: FINISHED, or FAILED if it raises."""
    try:
        yield
    except BaseException:
        with suppress(MlflowException, SQLAlchemyError):  # what the body raised matters more; see end_abandoned
            client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))
        raise
    client.set_terminated(run_id)


def _owner() -> dict[str, str]:
    """The tag that says which process ends a run."""
    return {PROCESS_TAG: identity(psutil.Process())}


def attached_run() -> Run | None:
    """The run that the parent process named, if any."""
    run_id = os.environ.get(RUN_VARIABLE)
    return Run(connect(), run_id) if run_id else None


def pipeline_run(client: MlflowClient, about: Callable[[], About] = lambda: About("pipeline")) -> Run:
    """The parent run of this pipeline run, created when it is the first to ask: named by date, profile and commit."""
    key = run_id()
    with _store_lock(client.tracking_uri):
        experiment = _experiment(client)
        found = client.search_runs([experiment], f"tags.`{PIPELINE_TAG}` = '{key}'", max_results=1)
        if found:
            return Run(client, found[0].info.run_id)
        facts, code = about(), git_tags()
        commit = code.get("git.commit", "")
        name = " ".join(filter(None, [f"{datetime.now(UTC):%Y-%m-%d}", facts.what, commit[:SHORT]]))
        tags = {PIPELINE_TAG: key, **code, **source_tags(commit), **version_tags(), **_owner()}
        run = Run(client, client.create_run(experiment, run_name=name, tags=tags).info.run_id)
        run.params(facts.changes)
        return run


def _experiment(client: MlflowClient) -> str:
    return cast(Experiment, client.get_experiment_by_name(EXPERIMENT)).experiment_id


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _store_lock(uri: str) -> FileLock:
    """Processes take turns where MLflow would race: beside an SQLite database, else those of this folder."""
    database = database_of(uri)
    return file_lock(database.with_name(f"{database.name}.lock") if database else Path(".amd/locks/mlflow"))
