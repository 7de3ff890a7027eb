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
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.runtime import flow_run
from tqdm import tqdm

from amd.config import DEFAULT_PATH, Adapt, Params, load_params
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.runtime.errors import UserError
from amd.runtime.files import run_lock, sha256, write_json
from amd.runtime.logs import event, run_id
from amd.runtime.progress import progress
from amd.runtime.tracking import Run, attached_run
from flows.runners import GRACE_S, Job, prepared, run_jobs
from flows.server import prefect_server
from stages import run_stage
from stages.receipts import ADAPTED, discard_others, origin, read_receipt

MODEL = Path("models/amd.safetensors")
OUT = Path("predictions/adapted")
LOGS = Path(".amd/logs/adapt")
METRICS = Path("metrics/adapt.json")


def main(params: Params, run: Run) -> None:
    """The stage's body; being told to end is an interruption like any other."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with run_lock(".amd/locks/adapt", "adapt"), prepared(params.adapt), prefect_server():
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
    waiting = [video for video in videos if not video.done()]
    if len(waiting) < len(videos):
        _say(f"{len(videos) - len(waiting)} of {len(videos)} videos are done already")
    reasons = _run_all(waiting, values.adapt)
    report = _report(videos, reasons)
    write_json(metrics, report)
    if stage := attached_run():
        stage.metrics({key: report[key] for key in ("videos", "failed", "seconds")})
    if report["failed"]:
        raise UserError(_failures(report))
    return report


def _videos(sequences: list[Sequence], model: Path, out: Path, path: Path, params: Params) -> list[Job]:
    """A job for every video: done when its receipt and its predictions are there."""
    if not model.is_file():
        raise UserError(f"{model}: no such checkpoint; the stages before this one write it")
    checkpoint, project, limits = sha256(model), Path.cwd(), params.adapt
    place = {"dataset": params.data.benchmark, "root": params.data.benchmark_root}
    shared = {"model": str(model), **place, "out": str(out), "params": str(path)}
    videos = []
    for index, sequence in enumerate(sequences):
        made_from = origin(checkpoint, sequence, limits, params.fused)
        video = Job(
            name=sequence.name,
            program="adapt_video",
            arguments={"sequence": sequence.name, **shared},
            threads=limits.threads,
            index=index,
            project=project,
            log=LOGS / f"{sequence.name}.log",
            done=partial(read_receipt, project / out, sequence, made_from, ADAPTED),
            timeout_s=limits.timeout_s,
            limit="adapt.timeout_s",
            patience_s=limits.timeout_s + 2 * GRACE_S,
        )
        videos.append(video)
    return videos


def _run_all(videos: list[Job], limits: Adapt) -> dict[str, str]:
    """Do every video, `limits.workers` at once; gives the reason of each that failed."""
    reasons: dict[str, str] = {}
    with closing(run_jobs(videos, limits.runner, limits.workers, limits.retries)) as ended:
        for video, state in progress(ended, "adapt", len(videos), "videos"):
            if not state.is_completed():
                reasons[video.name] = state.message
                event("video failed", "error", video=video.name, reason=state.message)
                _say(f"{video.name} failed: {state.message}")
    return reasons


def _report(videos: list[Job], reasons: dict[str, str]) -> dict[str, Any]:
    """Counts, the seconds that all finished videos took together, and a row per video."""
    rows: dict[str, dict[str, Any]] = {}
    for video in videos:
        name, receipt = video.name, cast(dict[str, Any] | None, video.done())
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
