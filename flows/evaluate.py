"""Flow evaluate: the champion on every configured benchmark, beside the last scores there, as a drift table.

Input: a model, benchmarks. Output: an MLflow run with J and F of each benchmark, drift.md and drift.json; a Prefect
task a benchmark. The last scores are those of the newest finished run before that scored the same frames by the same
protocol. A model that stayed the same has to score the same: a change then is one of the data, the code or the machine.
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import math
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import State

from amd.config import load_params
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, run_lock, write_json, write_text
from amd.runtime.logs import logged
from amd.runtime.processes import Programs
from amd.runtime.receipts import fingerprint
from flows.tasks import run_program

GRACE_S = 10.0
LOGS = Path(".amd/logs/evaluate")
OUT = Path(".amd/evaluate")
MODEL = "models:/amd@champion"
LOOKED_AT = 200  # runs before
AGAIN = "prefect deployment run evaluate/evaluate"  # what goes on after a failure


@flow(name="evaluate", persist_result=False)
def evaluate(model: str = MODEL, benchmarks: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Score `model` on `benchmarks` (name to folder; None: the pipeline's); gives the rows of the drift table.

    UserError, after all scores were logged, for a benchmark that could not be scored or whose J fell by more than
    register.max_drop.
    """
    with logged("evaluate", str(flow_run.id), AGAIN, flow_run=flow_run.id):
        return _evaluate(model, benchmarks)


def _evaluate(model: str, benchmarks: dict[str, str] | None) -> list[dict[str, Any]]:
    from amd.runtime.tracking import stage_run  # MLflow takes seconds to import
    from flows.models import pin

    params, pinned = load_params(), pin(model)
    places = benchmarks or {params.data.benchmark: params.data.benchmark_root}
    lineage = {"model": pinned.uri, "model.sha256": pinned.sha256}
    with run_lock(".amd/locks/evaluate", "evaluate"), stage_run("evaluate", {"benchmarks": places}, lineage) as run:
        states = _score_all(places, pinned.checkpoint, OUT / pinned.sha256[:16])
        scores = {name: score for name, (_, score) in states.items() if score is not None}
        rows = [_row(name, score, pinned.uri, _last(run, name, score)) for name, score in scores.items()]
        _log(run, rows, scores)
    create_markdown_artifact(drift_table(rows), key="drift", description="J on the benchmarks against the last scores")
    get_run_logger().info("\n%s", drift_table(rows))
    failures = [f"{name}: {state.message}" for name, (state, score) in states.items() if score is None]
    if problems := failures + list(_falls(rows, params.register_.max_drop)):
        raise UserError(f"evaluate: {'; '.join(problems)}")
    return rows


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def score_one(name: str, root: str, checkpoint: Path, out: Path, programs: Programs) -> State:
    """Run the program that scores one benchmark."""
    words = ("--checkpoint", checkpoint, "--dataset", name, "--root", root, "--out", out)
    command = (sys.executable, "-m", "flows.programs.evaluate_model", *map(str, words))
    return run_program(programs, command, LOGS / f"{name}.log", math.inf, "no limit")


def drift_table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| benchmark | frames | model | J | F | last J | change | last model | last scored |",
        "|---|---:|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        now = f"| {row['benchmark']} | {row['frames']} | {row['model']} | {row['J']:.3f} | {row['F']:.3f} |"
        if row["last_J"] is None:
            lines.append(f"{now} | | first scores | |")
        else:
            change = row["J"] - row["last_J"]
            lines.append(f"{now} {row['last_J']:.3f} | {change:+.3f} | {row['last_model']} | {row['last_scored']} |")
    return "\n".join(lines)


def _score_all(places: dict[str, str], checkpoint: Path, out: Path) -> dict[str, tuple[State, dict | None]]:
    """The final state of every benchmark's task, and its scores where it has any; one after the other."""
    LOGS.mkdir(parents=True, exist_ok=True)
    results = {}
    with Programs(GRACE_S) as programs:
        for name, root in places.items():
            folder = out / fingerprint([name, str(Path(root).resolve())])[:8]
            state = score_one(name, root, checkpoint, folder, programs, return_state=True)
            results[name] = (state, read_json(folder / "scores.json") if state.is_completed() else None)
    return results


def _row(name: str, scores: dict, model: str, last: dict[str, Any]) -> dict[str, Any]:
    now = {measure: scores["mean"][measure]["mean"] for measure in "JF"}
    frames = scores["protocol"]["frames_scored"]
    return {"benchmark": name, "frames": frames, "model": model, "protocol": _protocol(scores), **now, **last}


def _last(run, name: str, scores: dict) -> dict[str, Any]:
    """What the newest run before had on this benchmark, scored in this way; empty values when none had."""
    from amd.runtime.tracking import EXPERIMENT, STAGE_TAG

    experiment = run.client.get_experiment_by_name(EXPERIMENT).experiment_id
    query = f"tags.`{STAGE_TAG}` = 'evaluate' AND attributes.status = 'FINISHED'"
    for earlier in run.client.search_runs([experiment], query, max_results=LOOKED_AT):  # newest first
        tags, metrics = earlier.data.tags, earlier.data.metrics
        if tags.get(f"protocol.{name}") == _protocol(scores) and f"J.{name}" in metrics:
            when = datetime.fromtimestamp(earlier.info.end_time / 1000, UTC)
            known = {"last_J": metrics[f"J.{name}"], "last_model": tags["model"]}
            return known | {"last_scored": f"{when:%Y-%m-%d %H:%M} UTC"}
    return {"last_J": None, "last_model": None, "last_scored": None}


def _log(run, rows: list[dict[str, Any]], scores: dict[str, dict]) -> None:
    for row in rows:
        name = row["benchmark"]
        run.metrics({f"J.{name}": row["J"], f"F.{name}": row["F"]})
        run.tags({f"protocol.{name}": row["protocol"]})
        if row["last_J"] is not None:
            run.metrics({f"drift.{name}": row["J"] - row["last_J"]})
    with tempfile.TemporaryDirectory() as folder:
        write_text(Path(folder) / "drift.md", drift_table(rows) + "\n")
        write_json(Path(folder) / "drift.json", {"rows": rows, "scores": scores})
        run.artifact(folder)


def _falls(rows: list[dict[str, Any]], most: float) -> Iterator[str]:
    for row in rows:
        if row["last_J"] is not None and row["last_J"] - row["J"] > most:
            fall = f"J of {row['model']} fell from {row['last_J']:.3f} ({row['last_model']}) to {row['J']:.3f}"
            yield f"{row['benchmark']}: {fall}, more than register.max_drop ({most:g})"


def _protocol(scores: dict) -> str:
    """A hash of what was scored how: scores of another one do not compare."""
    return fingerprint([scores["protocol"], sorted(scores["sequences"])])[:16]
