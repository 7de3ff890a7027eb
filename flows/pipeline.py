"""The whole pipeline as a Prefect flow: `dvc repro`, a task per stage, in the order of DVC's graph.

Each task runs `dvc repro --single-item STAGE`, which decides whether the stage is still valid, so the flow computes
nothing itself and leaves the dvc.lock that a plain `dvc repro` leaves (tested). One `dvc repro` for everything would
save a second a stage, but Prefect would show one bar for hours of work, and a failure would not be a stage's.
All stages log below one MLflow run, named by the flow run (AMD_RUN_ID), and share the flow's Prefect server.
"""

from flows import settings  # before Prefect

# isort: split
import argparse
import os
import signal
import subprocess
import sys
from collections import deque
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import networkx
from dvc.exceptions import DvcException
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import read_json
from amd.runtime.logs import logged
from amd.runtime.processes import program_group
from flows.alerts import REFUSED_MODEL, alert
from flows.server import prefect_server
from stages.prepare import prepare
from stages.project import open_project
from stages.start import VARIABLE as START_VARIABLE

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

DVC = (sys.executable, "-m", "dvc")
GRACE_S = 60.0  # a stage that is told to end saves its state
AGAIN = "python -m flows.pipeline"  # what goes on after a failure
TAIL = 3  # lines of a failure: the stage's own error and DVC's
START = "start"  # the stage that says what the training begins with
REGISTERED = Path("metrics/register.json")
MAIN = "dvc.yaml"  # the pipeline; others are in pipelines/


@exit_on_user_error
def main() -> None:
    """Read the command line and run the flow."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run the pipeline through DVC.")
    parser.add_argument("targets", nargs="*", help="stages to bring up to date, with all before them (default: all)")
    parser.add_argument("--force", action="store_true", help="run stages that are still valid, too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with prefect_server():
        pipeline(options.targets, options.force)


@flow(name="pipeline", persist_result=False)
def pipeline(targets: list[str] | None = None, force: bool = False, start: str | None = None) -> list[str]:
    """Bring `targets` and all stages before them up to date; gives the stages, in the order they were looked at.

    `start` is what the stage of that name says (stages.start), with an empty one what params.yaml has; None leaves
    that stage alone. Runs in the current folder, a DVC project. Raises UserError with the last lines of the stage that
    failed.
    """
    with logged("pipeline", str(flow_run.root_flow_run_id), AGAIN, flow_run=flow_run.id):
        for line in prepare():
            print(line, flush=True)
        stages = stage_order(targets or [])
        environment = _environment() | {START_VARIABLE: start or ""}
        before = _registered()
        for number, stage in enumerate(stages, 1):
            print(f"[{number}/{len(stages)}] {stage}", flush=True)
            reproduce(stage, force or (stage == START and start is not None), environment)
        if (outcome := _registered()) != before:
            _tell_of_refusal(outcome)
    return stages


@task(task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def reproduce(stage: str, force: bool, environment: dict[str, str]) -> None:
    """Bring one stage up to date, its inputs being so; its output goes to the console and to Prefect's log."""
    logger, tail = get_run_logger(), deque(maxlen=TAIL)
    command = (*DVC, "repro", "--single-item", *(["--force"] if force else []), "--", stage)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with program_group(command, GRACE_S, env=environment, **pipes) as process:
        for line in filter(None, map(str.rstrip, process.stdout)):
            print(line, flush=True)
            logger.info(line)
            if not line.startswith("log: "):  # the flow's own failure ends with that
                tail.append(line)
        status = process.wait()
    if status != 0:
        raise UserError(f"stage {stage} failed; its last lines: {' | '.join(tail)}")


def _registered() -> dict:
    """What the stage register did last; empty where that is not known."""
    try:
        return read_json(REGISTERED)
    except UserError:
        return {}


def _tell_of_refusal(outcome: dict) -> None:
    """An alert for a model that the gates refused."""
    if outcome.get("promoted") is False:
        uri, reason = outcome["uri"], outcome["reason"]
        alert(REFUSED_MODEL, uri, f"{uri} is not the champion: {reason}", model=uri, reason=reason)


def stage_order(targets: list[str]) -> list[str]:
    """The stages that `targets` need, or all of the main pipeline, each after those it depends on."""
    with open_project() as project:
        graph = project.index.graph  # an edge leads from a stage to one that it depends on
        if targets:
            wanted = {stage for target in targets for stage in _named(project, target)}
        else:
            wanted = {stage for stage in graph if stage.path_in_repo == MAIN}
        needed = wanted.union(*(networkx.descendants(graph, stage) for stage in wanted))
        order: TopologicalSorter[str] = TopologicalSorter()
        for stage in sorted(needed, key=lambda stage: stage.addressing):
            order.add(stage.addressing, *(before.addressing for before in graph.successors(stage)))
    return list(order.static_order())


def _named(project: "Repo", target: str) -> list["Stage"]:
    """The stages that a name, a file of stages or an output means; UserError for none."""
    try:
        return project.stage.collect(target)
    except DvcException as error:
        raise UserError(f"{target}: no stage of the pipeline ({' '.join(str(error).split())})") from None


def _environment() -> dict[str, str]:
    """This process's, with its Python first, and its server for flows inside."""
    with get_client(sync_client=True) as client:
        return {**os.environ, "PATH": settings.path(), "PREFECT_API_URL": str(client.api_url)}


if __name__ == "__main__":
    main()
