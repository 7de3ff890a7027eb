"""Flow inbox: videos dropped in a folder become masks, an overlay and a contact sheet, beside each other.

Input: a folder (flows.inbox.folder says how it is laid out), a model, params.inbox. Output: INBOX/done and
INBOX/failed, a Prefect task and, for what was segmented, an MLflow run a video. A run with nothing to do leaves no
MLflow run. Videos are decoded and segmented by programs of their own (flows.programs.inbox_video) with limits of memory
and time.
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import sys
from pathlib import Path
from typing import NamedTuple

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.states import State
from prefect.task_runners import ThreadPoolTaskRunner

from amd.config import Inbox, load_params
from amd.runtime.files import read_json
from amd.runtime.logs import logged
from amd.runtime.processes import Programs
from flows.inbox.folder import RESULTS, SHEET, Job, finish, open_jobs
from flows.inbox.rules import refuse_entry, refuse_name
from flows.tasks import retried, run_program

GRACE_S = 10.0
LOGS = Path(".amd/logs/inbox")
JOB_TAG = "flows.inbox.folder"  # of the MLflow run of a dropped file: no file has two
MODEL = "models:/amd@champion"
AGAIN = "prefect deployment run inbox/inbox"  # what goes on after a failure


class Work(NamedTuple):
    """What all videos of a run share."""

    checkpoint: Path
    adapt: int  # iterations; 0 for none
    limits: Inbox


@flow(name="inbox", persist_result=False)
def inbox(folder: Path = Path("inbox"), model: str = MODEL, adapt: int = 0) -> dict[str, str]:
    """Segment the videos that were dropped in `folder`; gives for every one "done" or why it failed.

    `adapt` is the number of iterations of adaptation to each video, 0 for none. UserError for a model that cannot be
    had; the videos then wait for the next run, as they do when this one is interrupted.
    """
    limits = load_params().inbox
    with open_jobs(folder, limits.settle_s) as jobs:
        outcomes = _refuse(jobs, limits)
        if accepted := [job for job in jobs if job.id not in outcomes]:
            with logged("inbox", str(flow_run.id), AGAIN, flow_run=flow_run.id):
                outcomes |= _segment(accepted, model, adapt, limits)
    failed = sum(outcome != "done" for outcome in outcomes.values())
    get_run_logger().info("%d videos: %d done, %d failed", len(outcomes), len(outcomes) - failed, failed)
    return outcomes


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def segment_one(name: str, job: Job, work: Work, programs: Programs) -> State:
    """Run the program of one video; it holds the job's lock as long as it lives, even longer than this process."""
    words = ("--video", job.file, "--model", work.checkpoint, "--out", job.folder / RESULTS, "--adapt", work.adapt)
    command = (sys.executable, "-m", "flows.programs.inbox_video", *map(str, words))
    log = LOGS / f"{job.id}.log"
    return run_program(programs, command, log, work.limits.timeout_s, "inbox.timeout_s", pass_fds=[job.lock])


def _refuse(jobs: list[Job], limits: Inbox) -> dict[str, str]:
    """Set aside what is plainly no video; gives the reasons."""
    reasons = {job.id: refuse_name(job.name) or refuse_entry(job.file, limits) for job in jobs}
    for job in jobs:
        if reasons[job.id]:
            _fail(job, reasons[job.id])
    return {name: reason for name, reason in reasons.items() if reason}


def _segment(jobs: list[Job], model: str, adapt: int, limits: Inbox) -> dict[str, str]:
    from amd.runtime.tracking import stage_run  # MLflow takes seconds to import: not every few minutes for nothing
    from flows.models import pin

    pinned = pin(model)
    work = Work(pinned.checkpoint, adapt, limits)
    LOGS.mkdir(parents=True, exist_ok=True)
    lineage = {"model": pinned.uri, "model.sha256": pinned.sha256}
    outcomes: dict[str, str] = {}
    with (
        stage_run("inbox", {"adapt": adapt, "inbox": limits.model_dump()}, lineage) as run,
        ThreadPoolTaskRunner(max_workers=limits.workers) as runner,
        Programs(GRACE_S) as programs,  # left first: programs end, then the threads that wait for them
    ):
        again = retried(segment_one, limits.retries)
        arguments = [{"name": job.id, "job": job, "work": work, "programs": programs} for job in jobs]
        running = {runner.submit(again, each): each["job"] for each in arguments}
        for future in as_completed(list(running)):
            future.wait()
            outcomes[running[future].id] = _settle(running[future], future.state, run)
        run.metrics({"videos": len(jobs), "failed": sum(outcome != "done" for outcome in outcomes.values())})
    return outcomes


def _settle(job: Job, state: State, run) -> str:
    """Move a job to where it belongs, with its MLflow run first; gives the outcome."""
    if not state.is_completed():
        return _fail(job, state.message)
    (row,) = read_json(job.folder / RESULTS / "summary.json")["inputs"]
    sheet = job.folder / RESULTS / SHEET
    _log(job, row, sheet, run)
    sheet.replace(job.folder / SHEET)
    finish(job)
    return "done"


def _fail(job: Job, reason: str) -> str:
    get_run_logger().warning("%r: %s", job.name, reason)
    finish(job, reason)
    return reason


def _log(job: Job, row: dict, sheet: Path, run) -> None:
    """The MLflow run of a segmented video, once: a run that ended between this and the move has made it already."""
    from amd.runtime.tracking import EXPERIMENT, nested_run

    experiment = run.client.get_experiment_by_name(EXPERIMENT).experiment_id
    query = f"tags.`{JOB_TAG}` = '{job.key}' AND attributes.status = 'FINISHED'"
    if run.client.search_runs([experiment], query, max_results=1):
        return
    with nested_run(run.client, run.id, job.id) as video:
        video.tags({JOB_TAG: job.key, "video": job.name, "warnings": "; ".join(row["warnings"])})
        video.metrics({key: row[key] for key in ("frames", "width", "height", "mean_area", "seconds")})
        video.artifact(sheet)
