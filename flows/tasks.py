"""Prefect tasks that run one program each: its output in a log, its end as the task's state, again where that helps.

A program that ends with status 2 refuses its input: the state is named Refused, and it is not run again.
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import math
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import task_run
from prefect.states import Completed, Failed, State

from amd.runtime.processes import Programs, ending

REFUSED = "Refused"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of the programs: threads that spin starve a busy machine


def run_program(
    programs: Programs, command: Sequence[str], log: Path, timeout_s: float | None, limit: str, **options: Any
) -> State:
    """Run a program (`options` as for Popen) with its output at the end of `log`; a failed state says why.

    `limit` is the name of the parameter that `timeout_s` is; None has no end.
    """
    with log.open("a") as output:
        output.write(f"--- attempt {task_run.run_count or 1}: {' '.join(command)}\n")
        output.flush()
        try:
            status = programs.run(command, timeout_s or math.inf, stdout=output, stderr=subprocess.STDOUT, **options)
        except subprocess.TimeoutExpired:
            return Failed(message=f"not finished after {timeout_s:g} s ({limit})")
    if status == 0:
        return Completed(message="done")
    return Failed(name=REFUSED if status == 2 else None, message=ending(status, log))


def retried(task: Task, retries: int) -> Task:
    """A task of `run_program` that is tried again after crashes and timeouts."""
    return task.with_options(retries=retries, retry_condition_fn=_may_help)


def _may_help(_task: Task, _run: TaskRun, state: State) -> bool:
    return state.name != REFUSED
