"""Stage adapt as a Prefect flow: every video of the benchmark adapted to, several at once, a process each.

Input: models/amd.safetensors, the benchmark, params.adapt. Output: predictions/adapted, metrics/adapt.json.
adapt.runner says where a video's program (flows.programs.adapt_video) runs (flows.runners). Prefect bounds, retries and
records it; whether a video is finished is said by its receipt (stages.receipts) alone, so an interrupted or partly
failed run goes on where it was, also under DVC, which keeps predictions/adapted between runs (`persist`).
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import signal
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.states import Completed, State
from tqdm import tqdm

from amd.config import DEFAULT_PATH, Adapt, Params, load_params
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.runtime.errors import UserError
from amd.runtime.files import run_lock, sha256, write_json
from amd.runtime.logs import event, run_id
from amd.runtime.progress import progress
from amd.runtime.tracking import Run, attached_run
from flows.runners import LOGS, RunVideo, Video, open_runner
from flows.server import prefect_server
from flows.tasks import retried
from stages import run_stage
from stages.receipts import ADAPTED, discard_others, origin, read_receipt

MODEL = Path("models/amd.safetensors")
OUT = Path("predictions/adapted")
METRICS = Path("metrics/adapt.json")


def main(params: Params, run: Run) -> None:
    """The stage's body; being told to end is an interruption like any other."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with run_lock(".amd/locks/adapt", "adapt"), prefect_server():
        adapt_videos()


@flow(name="adapt-videos", flow_run_name=run_id, persist_result=False)
def adapt_videos(
    model: Path = MODEL, out: Path = OUT, metrics: Path = METRICS, params: Path = DEFAULT_PATH
) -> dict[str, Any]:
    """Bring the adapted predictions of the benchmark that `params` names up to date; gives what `metrics` holds.

    Raises UserError that names the videos which failed, after all others were finished.
    """
    event("flow", flow_run=flow_run.id)
    values = load_params(params)
    sequences = open_benchmark(values.data.benchmark, values.data.benchmark_root)
    if removed := discard_others(out, values.data.benchmark, {sequence.name for sequence in sequences}):
        _say(f"removed, no longer in the benchmark: {', '.join(removed)}")
    videos = _videos(sequences, model, out, params, values)
    waiting = [video for video in videos if not video.is_done()]
    if len(waiting) < len(videos):
        _say(f"{len(videos) - len(waiting)} of {len(videos)} videos are done already")
    reasons = _run_all(waiting, values.adapt)
    report = _report(videos, reasons, out)
    write_json(metrics, report)
    if stage := attached_run():
        stage.metrics({key: report[key] for key in ("videos", "failed", "seconds")})
    if report["failed"]:
        raise UserError(_failures(report))
    return report


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def adapt_one(name: str, video: Video, timeout_s: float, run: RunVideo) -> State:
    """Do one video, unless its receipt is there: Dask repeats tasks whose outcome was lost with a worker."""
    if video.is_done():
        return Completed(message=f"{name} is adapted already")
    return run(video, timeout_s)


def _videos(sequences: list[Sequence], model: Path, out: Path, path: Path, params: Params) -> list[Video]:
    if not model.is_file():
        raise UserError(f"{model}: no such checkpoint; the stages before this one write it")
    checkpoint, project = sha256(model), Path.cwd()
    place = {"dataset": params.data.benchmark, "root": params.data.benchmark_root}
    shared = {"model": str(model), **place, "out": str(out), "params": str(path)}
    videos = []
    for index, sequence in enumerate(sequences):
        made_from = origin(checkpoint, sequence, params.adapt, params.fused)
        arguments = {"sequence": sequence.name, **shared}
        videos.append(Video(sequence, made_from, arguments, params.adapt.threads, index, project))
    return videos


def _run_all(videos: list[Video], limits: Adapt) -> dict[str, str]:
    """Do every video, `limits.workers` at once; gives the reason of each that failed."""
    reasons: dict[str, str] = {}
    LOGS.mkdir(parents=True, exist_ok=True)
    again = retried(adapt_one, limits.retries)
    with open_runner(limits) as (runner, run):
        names = {}
        for video in videos:
            video.log.unlink(missing_ok=True)
            arguments = {"name": video.sequence.name, "video": video, "timeout_s": limits.timeout_s, "run": run}
            names[runner.submit(again, arguments)] = video.sequence.name
        for future in progress(as_completed(list(names)), "adapt", len(names), "videos"):
            future.wait()
            if not future.state.is_completed():
                reasons[names[future]] = future.state.message
                event("video failed", "error", video=names[future], reason=future.state.message)
                _say(f"{names[future]} failed: {future.state.message}")
    return reasons


def _report(videos: list[Video], reasons: dict[str, str], out: Path) -> dict[str, Any]:
    """Counts, the seconds that all finished videos took together, and a row per video."""
    rows: dict[str, dict[str, Any]] = {}
    for video in videos:
        name, receipt = video.sequence.name, read_receipt(out, video.sequence, video.made_from, ADAPTED)
        if receipt is None:
            reason = reasons.get(name, "its program ended well, but its receipt is of other inputs; were they changed?")
            rows[name] = {"status": "failed", "reason": reason, "log": str(video.log)}
        else:
            rows[name] = {"status": "adapted", **{key: receipt[key] for key in receipt if key != "origin"}}
    failed = sum(row["status"] == "failed" for row in rows.values())
    seconds = sum(row.get("seconds", 0.0) for row in rows.values())
    return {"videos": len(rows), "failed": failed, "seconds": seconds, "per_video": rows}


def _failures(report: dict[str, Any]) -> str:
    failed = {name: row for name, row in report["per_video"].items() if row["status"] == "failed"}
    named = "; ".join(f"{name} ({row['reason']}; log: {row['log']})" for name, row in failed.items())
    return f"adapt: {len(failed)} of {report['videos']} videos failed, the others are kept: {named}"


def _say(line: str) -> None:
    tqdm.write(f"adapt: {line}", file=sys.stderr)  # above the progress line


if __name__ == "__main__":
    run_stage("adapt", main, keeps=True)
