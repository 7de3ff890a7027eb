"""Where the programs of a fan-out run, as its parameter `runner` says: on this machine, on Dask's workers, or by the
workers of a Prefect work pool.

All three run a program of PROGRAMS in a process group of its own, in the project's folder, with its output in a log.
Workers elsewhere need the project at the same path (a shared file system), and servers that they can reach for
PREFECT_API_URL and MLFLOW_TRACKING_URI.

  processes   threads of the flow wait for programs, forked by one process (amd.runtime.zygote), which end with it
  dask        DASK_SCHEDULER_ADDRESS names the cluster, else one of `workers` processes is made on this machine; what a
              worker that dies had to do is given to another
  pool        a run of the deployment run-program for each; a run whose worker is lost is given up after the job's
              patience
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from collections.abc import Sequence as Row
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, TypeAlias

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture
from prefect.states import Cancelling, Completed, Failed, State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from amd.config.pipeline import Adapt, Runner
from amd.runtime.errors import UserError
from amd.runtime.logs import PIPELINE_VARIABLE, RUN_VARIABLE, STAGE_VARIABLE
from amd.runtime.processes import Programs
from flows.tasks import retried, run_program

GRACE_S = 10.0
POLL_S = 1.0
Program: TypeAlias = Literal["adapt_video", "video_batch"]  # of flows.programs: workers run no other
PROGRAM = "flows.programs.adapt_video"  # which is forked on this machine
DEPLOYMENT = "run-program/run-program"
# What a program elsewhere has to be told of the run that it belongs to.
TOLD = (RUN_VARIABLE, PIPELINE_VARIABLE, STAGE_VARIABLE, "MLFLOW_TRACKING_URI")


@dataclass(frozen=True)
class Job:
    """One program to run."""

    name: str
    program: Program
    arguments: dict[str, str]
    threads: int
    index: int  # among all of the fan-out: GPUs are taken in turn
    project: Path  # folder that paths start at
    log: Path  # where its output goes, from the project's folder
    done: Callable[[], object]  # something true where its results are there
    timeout_s: float | None = None  # of one try; None: as long as it takes
    limit: str = ""  # the parameter that timeout_s is
    pulse: Path | None = None  # a file that the program touches as long as it lives
    patience_s: float = 0.0  # with a pool's run whose pulse is still, or, where there is no pulse, that has begun


_prepared: ContextVar[Programs | None] = ContextVar("prepared", default=None)

RunJob: TypeAlias = Callable[[Job], State]


def run_jobs(
    jobs: Iterable[Job], runner: Runner, workers: int, retries: int, ahead: int | None = None
) -> Generator[tuple[Job, State], None, None]:
    """Run every job, `workers` at once, again where that may help; yields each with its last state, as they end.

    At most `ahead` jobs are taken before one ends. Close the iterator to end what runs (contextlib.closing).
    """
    waiting = iter(jobs)
    running: dict[PrefectFuture, Job] = {}
    ended: SimpleQueue[PrefectFuture] = SimpleQueue()
    again = retried(run_one, retries)

    def begin(job: Job) -> None:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.unlink(missing_ok=True)
        future = tasks.submit(again, {"name": job.name, "job": job, "run": run})
        running[future] = job
        future.add_done_callback(ended.put)

    with open_runner(runner, workers) as (tasks, run):
        for job in islice(waiting, ahead):
            begin(job)
        while running:
            future = ended.get()
            future.wait()
            job = running.pop(future)
            for following in islice(waiting, 1):
                begin(following)
            yield job, future.state


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def run_one(name: str, job: Job, run: RunJob) -> State:
    """Do one job, unless it is done: Dask repeats tasks whose outcome was lost with a worker."""
    if job.done():
        return Completed(message=f"{name} is done already")
    return run(job)


@contextmanager
def prepared(limits: Adapt) -> Iterator[None]:
    """The program of videos is imported while the body begins, where it runs on this machine: both take seconds."""
    if limits.runner != "processes":
        yield
        return
    with Programs(GRACE_S, PROGRAM) as programs:
        programs.prepare(share(0, limits.threads, []), Path.cwd())  # every video is told of its device
        before = _prepared.set(programs)
        try:
            yield
        finally:
            _prepared.reset(before)


@contextmanager
def open_runner(runner: Runner, workers: int) -> Iterator[tuple[TaskRunner, RunJob]]:
    """What runs the tasks, and what a task does with a job; what still runs is ended with the body."""
    if runner == "dask":
        told = {name: os.environ[name] for name in TOLD if name in os.environ}
        with _dask_runner(workers) as tasks:
            yield tasks, partial(_run_on_worker, told)
    elif runner == "pool":
        stopped = threading.Event()
        with ThreadPoolTaskRunner(max_workers=workers) as tasks:
            try:
                yield tasks, partial(_run_in_pool, stopped)
            finally:
                stopped.set()
    else:
        made = _prepared.get() or Programs(GRACE_S, PROGRAM)
        # Left from below: programs end first, then the threads that wait for them.
        with ThreadPoolTaskRunner(max_workers=workers) as tasks, made as programs:
            yield tasks, partial(_run_here, programs)


@flow(name="run-program", persist_result=False)
def run_in_pool(
    program: Program,
    arguments: dict[str, str],
    threads: int,
    index: int,
    told: dict[str, str],
    log: Path,
    timeout_s: float | None,
    limit: str,
) -> State:
    """One job, by a worker of the pool in the project's folder."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = _environment(program, threads, index, {name: told[name] for name in TOLD if name in told})
    with Programs(GRACE_S) as programs:
        return run_program(programs, command(program, arguments), log, timeout_s, limit, env=environment)


def command(program: Program, arguments: dict[str, str]) -> tuple[str, ...]:
    """The command line of a program."""
    return (sys.executable, "-m", f"flows.programs.{program}", *(f"--{key}={word}" for key, word in arguments.items()))


def devices() -> list[str]:
    """The CUDA devices of this machine that may be used, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # here: it takes a second, and batches of videos have no use for a GPU

    count = torch.cuda.device_count()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[:count] if allowed else [str(index) for index in range(count)]


def share(index: int, threads: int, visible: Row[str]) -> dict[str, str]:
    """The environment of the job at `index`: `threads` threads, and one of the visible devices in turn."""
    limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    device = {"CUDA_VISIBLE_DEVICES": visible[index % len(visible)]} if visible else {}
    return {**os.environ, **limits, **device}


def _environment(program: Program, threads: int, index: int, told: dict[str, str]) -> dict[str, str]:
    return share(index, threads, devices() if program == "adapt_video" else []) | told


def _run_here(programs: Programs, job: Job, told: dict[str, str] | None = None) -> State:
    environment = _environment(job.program, job.threads, job.index, told or {})
    options = {"env": environment, "cwd": job.project}
    words = command(job.program, job.arguments)
    return run_program(programs, words, job.project / job.log, job.timeout_s, job.limit, **options)


def _run_on_worker(told: dict[str, str], job: Job) -> State:
    with Programs(GRACE_S) as programs:
        return _run_here(programs, job, told)


@contextmanager
def _dask_runner(workers: int) -> Iterator[TaskRunner]:
    try:
        import dask
        from prefect_dask import DaskTaskRunner
    except ModuleNotFoundError:
        raise UserError("the runner is 'dask', which is not installed; pip install 'amd-objects[scale]'") from None
    address = dask.config.get("scheduler-address", None)
    local = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with DaskTaskRunner(address=address, cluster_kwargs=None if address else local) as runner:
        yield runner


def _run_in_pool(stopped: threading.Event, job: Job) -> State:
    """Have a worker of the pool do the job, and wait for it; what is not wanted any more is cancelled."""
    told = {name: os.environ[name] for name in TOLD if name in os.environ}
    parameters = {
        name: getattr(job, name) for name in ("program", "arguments", "threads", "index", "timeout_s", "limit")
    }
    parameters |= {"told": told, "log": str(job.log)}
    with get_client(sync_client=True) as client:
        try:
            run = run_deployment(DEPLOYMENT, client=None, parameters=parameters, timeout=0, flow_run_name=job.name)
        except ObjectNotFound:
            return Failed(message=f"no deployment {DEPLOYMENT} at this Prefect server; `make services` applies it")
        state = _wait(client, run, job, stopped)
        if not state.is_final():
            client.set_flow_run_state(run.id, Cancelling(), force=True)
            return Failed(message=f"its flow run {run.id} gave no sign for {job.patience_s:g} s; is its worker there?")
    return state


def _wait(client: SyncPrefectClient, run: FlowRun, job: Job, stopped: threading.Event) -> State:
    """The run's last state, or a state that is not final: when the job's patience is at its end, or told to stop."""
    heard, last = None, time.monotonic()
    while True:
        state = client.read_flow_run(run.id).state
        now = (state.is_running(), _touched(job.pulse))
        if now != heard or not state.is_running():
            heard, last = now, time.monotonic()
        late = time.monotonic() - last > job.patience_s
        if state.is_final() or late or stopped.wait(POLL_S):
            return state


def _touched(pulse: Path | None) -> int | None:
    """When a file was last changed; None when it is not there."""
    with suppress(OSError):
        return pulse.stat().st_mtime_ns if pulse else None
    return None
