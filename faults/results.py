"""What a run left, reduced to what has to be the same after any disturbance; and what it must not leave.

Input: the project's folder. Output: a hash per output file of the stages, without what differs between any two runs
(durations, rates, memory, dates, a checkpoint's lineage); and problems as lines of text.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from filelock import lock_descriptor
from ruamel.yaml import YAML
from safetensors import safe_open

from amd.runtime.receipts import SEAL

Results = dict[str, str]  # path to hash

VOLATILE = {"seconds", "pairs_per_s", "data_wait_share", "memory_mb", "iterations_per_s", SEAL}
DATED = {".html"}  # says when it was made
SUFFIX_OF_HALF = ".part"


def read_results(project: Path, stages: list[str]) -> Results:
    """The hash of every output of the stages; of a missing output there is none."""
    files = (file for output in _outputs(project, stages) for file in _files(project / output))
    return {file.relative_to(project).as_posix(): _digest(file) for file in files}


def differences(results: Results, expected: Results) -> Iterator[str]:
    """A line per output that is missing, new or another one."""
    for path in sorted(results.keys() | expected.keys()):
        if path not in results:
            yield f"{path} is missing"
        elif path not in expected:
            yield f"{path} is not of the undisturbed run"
        elif results[path] != expected[path]:
            yield f"{path} differs"


def leftovers(project: Path) -> Iterator[str]:
    """A line per half-written file, and per lock that somebody still holds."""
    for path in project.rglob(f"*{SUFFIX_OF_HALF}"):
        yield f"{path.relative_to(project)} is left"
    for path in [*project.glob(".amd/locks/*"), *project.glob("*.lock"), *project.glob(".dvc/tmp/*lock")]:
        with path.open() as file:
            if not lock_descriptor(file.fileno(), blocking=False):
                yield f"{path.relative_to(project)} is still locked"
    rwlock = project / ".dvc/tmp/rwlock"  # names processes; DVC passes over those that are dead
    if rwlock.exists() and any(map(psutil.pid_exists, _pids(json.loads(rwlock.read_text() or "{}")))):
        yield f"{rwlock.relative_to(project)} still names a reader or writer that lives"


def tracking_problems(database: Path, stage: str) -> Iterator[str]:
    """A line per MLflow run that says something untrue, and per model version that is there twice."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        for (name,) in store.execute("SELECT name FROM runs WHERE status = 'RUNNING'"):
            yield f"MLflow run {name} is left running"
        if not store.execute("SELECT 1 FROM runs WHERE name = ? AND status = 'FINISHED'", [stage]).fetchone():
            yield f"no MLflow run of {stage} is finished"
        finished = store.execute(
            """SELECT runs.name, tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
            WHERE tags.key = 'mlflow.parentRunId' AND runs.status = 'FINISHED'"""
        )
        yield from (
            f"{name} is finished twice in one run" for (name, _), times in Counter(finished).items() if times > 1
        )
        versions = store.execute("SELECT value FROM model_version_tags WHERE key = 'checkpoint.sha256'").fetchall()
        yield from (f"a checkpoint is registered {times} times" for times in Counter(versions).values() if times > 1)


def _pids(value: object) -> Iterator[int]:
    """Every process number in DVC's list of who reads and writes what."""
    if isinstance(value, dict):
        yield from ([value["pid"]] if "pid" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _pids(item)


def _outputs(project: Path, stages: list[str]) -> Iterator[str]:
    """The paths that dvc.yaml lists as outputs and metrics."""
    listed = YAML(typ="safe").load(project / "dvc.yaml")["stages"]
    for stage in stages:
        for kind in ("outs", "metrics", "plots"):
            for entry in listed[stage].get(kind, []):
                yield entry if isinstance(entry, str) else next(iter(entry))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in sorted(path.rglob("*")) if file.is_file())


def _digest(path: Path) -> str:
    if path.suffix in DATED:
        return "there"
    if path.suffix == ".json":
        return _hash(json.dumps(_settled(json.loads(path.read_text())), sort_keys=True).encode())
    if path.suffix == ".parquet":
        return _hash(json.dumps(pq.read_table(path).to_pylist(), default=str).encode())
    if path.suffix == ".safetensors":
        return _tensors(path)
    return _hash(path.read_bytes())


def _settled(value: object) -> object:
    """JSON without what differs between any two runs."""
    if isinstance(value, dict):
        return {key: _settled(item) for key, item in value.items() if key not in VOLATILE}
    return [_settled(item) for item in value] if isinstance(value, list) else value


def _tensors(path: Path) -> str:
    """Hash of a checkpoint's tensors and of what it says of itself, but for where it came from."""
    digest = hashlib.sha256()
    with safe_open(path, framework="np") as file:
        info = json.loads(file.metadata()["info"])
        digest.update(json.dumps({**info, "lineage": None}, sort_keys=True).encode())
        for name in sorted(file.keys()):
            digest.update(name.encode())
            digest.update(file.get_tensor(name).tobytes())
    return digest.hexdigest()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
