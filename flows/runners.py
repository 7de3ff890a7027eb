"""Where a video of the fan-out is adapted to (adapt.runner): in programs of this machine, on Dask's workers, or by the
workers of a Prefect work pool.

All three run the program flows.programs.adapt_video in a process group of its own, in the project's folder, with its
output in the video's log. Workers elsewhere need the project at the same path (a shared file system), and servers
that they can reach for PREFECT_API_URL and MLFLOW_TRACKING_URI.

  processes   threads of the flow wait for programs, forked by one process (amd.runtime.zygote), which end with it
  dask        DASK_SCHEDULER_ADDRESS names the cluster, else one of `adapt.workers` processes is made on this machine;
              a video whose worker dies is given to another worker
  pool        a run of the deployment adapt-video a video; a run whose worker is lost is given up after adapt.timeout_s
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Row
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Failed, State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from amd.config import Adapt
from amd.data.benchmarks.davis import Sequence
from amd.runtime.errors import UserError
from amd.runtime.logs import PIPELINE_VARIABLE, STAGE_VARIABLE
from amd.runtime.processes import Programs
from amd.runtime.tracking import RUN_VARIABLE
from flows.tasks import run_program
from stages.receipts import ADAPTED, read_receipt

LOGS = Path(".amd/logs/adapt")
GRACE_S = 10.0
POLL_S = 1.0
PROGRAM = "flows.programs.adapt_video"
DEPLOYMENT = "adapt-video/adapt-video"
# What a program elsewhere has to be told of the run that it belongs to.
TOLD = (RUN_VARIABLE, PIPELINE_VARIABLE, STAGE_VARIABLE, "MLFLOW_TRACKING_URI")


@dataclass(frozen=True)
class Video:
    """One video to do."""

    sequence: Sequence
    made_from: dict[str, str]  # what its receipt has to say
    arguments: dict[str, str]  # of flows.programs.adapt_video
    threads: int
    index: int  # among all videos: GPUs are taken in turn
    project: Path  # folder that paths start at

    @property
    def log(self) -> Path:
        """Where its program's output goes, from the project's folder."""
        return LOGS / f"{self.sequence.name}.log"

    def is_done(self) -> bool:
        """Whether its receipt and its predictions are there."""
        out = self.project / self.arguments["out"]
        return read_receipt(out, self.sequence, self.made_from, ADAPTED) is not None


RunVideo: TypeAlias = Callable[[Video, float], State]  # a video, seconds that it may take


@contextmanager
def open_runner(limits: Adapt) -> Iterator[tuple[TaskRunner, RunVideo]]:
    """What runs the tasks, and what a task does with a video; what still runs is ended with the body."""
    if limits.runner == "dask":
        told = {name: os.environ[name] for name in TOLD if name in os.environ}
        with _dask_runner(limits.workers) as runner:
            yield runner, partial(_run_on_worker, told)
    elif limits.runner == "pool":
        stopped = threading.Event()
        with ThreadPoolTaskRunner(max_workers=limits.workers) as runner:
            try:
                yield runner, partial(_run_in_pool, stopped)
            finally:
                stopped.set()
    else:
        # Left from below: programs end first, then the threads that wait for them.
        with ThreadPoolTaskRunner(max_workers=limits.workers) as runner, Programs(GRACE_S, PROGRAM) as programs:
            yield runner, partial(_run_here, programs)


@flow(name="adapt-video", persist_result=False)
def adapt_in_pool(
    arguments: dict[str, str], threads: int, index: int, told: dict[str, str], log: Path, timeout_s: float
) -> State:
    """One video, by a worker of the pool in the project's folder."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = share(index, threads, devices()) | {name: told[name] for name in TOLD if name in told}
    with Programs(GRACE_S) as programs:
        return run_program(programs, command(arguments), log, timeout_s, "adapt.timeout_s", env=environment)


def command(arguments: dict[str, str]) -> tuple[str, ...]:
    """The program of a video."""
    return (sys.executable, "-m", PROGRAM, *(f"--{name}={value}" for name, value in arguments.items()))


def devices() -> list[str]:
    """The CUDA devices of this machine that may be used, as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[:count] if allowed else [str(index) for index in range(count)]


def share(index: int, threads: int, visible: Row[str]) -> dict[str, str]:
    """The environment of the video at `index`: `threads` threads, and one of the visible devices in turn."""
    limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    device = {"CUDA_VISIBLE_DEVICES": visible[index % len(visible)]} if visible else {}
    return {**os.environ, **limits, **device}


def _run_here(programs: Programs, video: Video, timeout_s: float, told: dict[str, str] | None = None) -> State:
    environment = share(video.index, video.threads, devices()) | (told or {})
    options = {"env": environment, "cwd": video.project}
    log = video.project / video.log
    return run_program(programs, command(video.arguments), log, timeout_s, "adapt.timeout_s", **options)


def _run_on_worker(told: dict[str, str], video: Video, timeout_s: float) -> State:
    with Programs(GRACE_S) as programs:
        return _run_here(programs, video, timeout_s, told)


@contextmanager
def _dask_runner(workers: int) -> Iterator[TaskRunner]:
    try:
        import dask
        from prefect_dask import DaskTaskRunner
    except ModuleNotFoundError:
        raise UserError("adapt.runner is 'dask': it is not installed; pip install 'amd-objects[scale]'") from None
    address = dask.config.get("scheduler-address", None)
    local = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with DaskTaskRunner(address=address, cluster_kwargs=None if address else local) as runner:
        yield runner


def _run_in_pool(stopped: threading.Event, video: Video, timeout_s: float) -> State:
    """Have a worker of the pool do the video, and wait for it; what is not wanted any more is cancelled."""
    told = {name: os.environ[name] for name in TOLD if name in os.environ}
    parameters = {"arguments": video.arguments, "threads": video.threads, "index": video.index, "told": told}
    parameters |= {"log": str(video.log), "timeout_s": timeout_s}
    name = video.sequence.name
    with get_client(sync_client=True) as client:
        try:
            run = run_deployment(DEPLOYMENT, client=None, parameters=parameters, timeout=0, flow_run_name=name)
        except ObjectNotFound:
            return Failed(message=f"no deployment {DEPLOYMENT} at this Prefect server; `make services` applies it")
        state = _wait(client, run, timeout_s + 2 * GRACE_S, stopped)
        if not state.is_final():
            client.set_flow_run_state(run.id, Cancelling(), force=True)
            return Failed(message=f"its flow run {run.id} did not end in adapt.timeout_s; is its worker there?")
    return state


def _wait(client: SyncPrefectClient, run: FlowRun, timeout_s: float, stopped: threading.Event) -> State:
    """The run's last state, or a state that is not final: after `timeout_s` of running, or when told to stop."""
    began = None
    while True:
        state = client.read_flow_run(run.id).state
        if state.is_running() and began is None:
            began = time.monotonic()
        late = began is not None and time.monotonic() - began > timeout_s
        if state.is_final() or late or stopped.wait(POLL_S):
            return state
