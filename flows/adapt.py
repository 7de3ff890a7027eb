"""Stage adapt as a Prefect flow: every video of the benchmark adapted to, several at once, a process each.

In: models/amd.safetensors, the benchmark, params.adapt. Out: predictions/adapted, metrics/adapt.json. Tasks run in
threads that wait for programs (stages.adapt_video). Prefect bounds, retries and records them; whether a video is
finished is said by its receipt (stages.receipts) alone, so an interrupted or partly failed run goes on where it was,
also under DVC, which keeps predictions/adapted between runs (`persist`).
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import os
import signal
import subprocess
import sys
from collections.abc import Sequence as Row
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import task_run
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner
from tqdm import tqdm

from amd.data.benchmarks import Sequence, open_benchmark
from amd.errors import UserError
from amd.files import run_lock, sha256, write_json
from amd.params import DEFAULT_PATH, Adapt, Params, load_params
from amd.progress import progress
from amd.tracking import Run, attached_run
from flows.processes import Programs
from flows.server import prefect_server
from stages import run_stage
from stages.receipts import discard_others, origin, read_receipt

MODEL = Path("models/amd.safetensors")
OUT = Path("predictions/adapted")
METRICS = Path("metrics/adapt.json")
LOGS = Path(".amd/logs/adapt")
GRACE_S = 10.0
REFUSED = "Refused"  # the state of a video whose input is at fault


@dataclass(frozen=True)
class Video:
    """One video to do."""

    sequence: Sequence
    made_from: dict[str, str]  # what its receipt has to say
    command: tuple[str, ...]
    environment: dict[str, str]

    @property
    def log(self) -> Path:
        return LOGS / f"{self.sequence.name}.log"


def main(params: Params, run: Run) -> None:
    """The stage's body; being told to end is an interruption like any other."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with run_lock(".amd/locks/adapt", "adapt"), prefect_server():
        adapt_videos()


@flow(name="adapt-videos", persist_result=False)
def adapt_videos(
    model: Path = MODEL, out: Path = OUT, metrics: Path = METRICS, params: Path = DEFAULT_PATH
) -> dict[str, Any]:
    """Bring the adapted predictions of the benchmark that `params` names up to date; gives what `metrics` holds.

    Raises UserError that names the videos which failed, after all others were finished.
    """
    values = load_params(params)
    sequences = open_benchmark(values.data.benchmark, values.data.benchmark_root)
    if removed := discard_others(out, values.data.benchmark, {sequence.name for sequence in sequences}):
        _say(f"removed, no longer in the benchmark: {', '.join(removed)}")
    videos = _videos(sequences, model, out, params, values)
    waiting = [video for video in videos if read_receipt(out, video.sequence, video.made_from) is None]
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
def adapt_one(name: str, video: Video, programs: Programs, timeout_s: float) -> State:
    """Run the program of one video, with its output in the video's log; the state's message is the reason."""
    with video.log.open("a") as log:
        log.write(f"--- attempt {task_run.run_count}: {' '.join(video.command)}\n")
        log.flush()
        try:
            status = programs.run(video.command, timeout_s, env=video.environment, stdout=log, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired:
            return Failed(message=f"not finished after {timeout_s:g} s (adapt.timeout_s)")
    if status == 0:
        return Completed(message=f"{name} is adapted")
    return Failed(name=REFUSED if status == 2 else None, message=_reason(status, video.log))


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


def _videos(sequences: list[Sequence], model: Path, out: Path, path: Path, params: Params) -> list[Video]:
    if not model.is_file():
        raise UserError(f"{model}: no such checkpoint; the stages before this one write it")
    checkpoint, visible = sha256(model), devices()
    place = ("--dataset", params.data.benchmark, "--root", params.data.benchmark_root)
    shared = ("--model", str(model), *place, "--out", str(out), "--params", str(path))
    return [
        Video(
            sequence,
            origin(checkpoint, sequence, params.adapt),
            (sys.executable, "-m", "stages.adapt_video", f"--sequence={sequence.name}", *shared),
            share(index, params.adapt.threads, visible),
        )
        for index, sequence in enumerate(sequences)
    ]


def _run_all(videos: list[Video], limits: Adapt) -> dict[str, str]:
    """Run every video's program, `limits.workers` at once; gives the reason of each that failed."""
    reasons: dict[str, str] = {}
    LOGS.mkdir(parents=True, exist_ok=True)
    # Left from below: programs end first, then the threads that wait for them.
    with ThreadPoolTaskRunner(max_workers=limits.workers) as runner, Programs(GRACE_S) as programs:
        again = adapt_one.with_options(
            retries=limits.retries,
            retry_condition_fn=lambda _task, _run, state: state.name != REFUSED and not programs.stopped,
        )
        names = {}
        for video in videos:
            video.log.unlink(missing_ok=True)
            arguments = {
                "name": video.sequence.name,
                "video": video,
                "programs": programs,
                "timeout_s": limits.timeout_s,
            }
            names[runner.submit(again, arguments)] = video.sequence.name
        for future in progress(as_completed(list(names)), "adapt", len(names), "videos"):
            future.wait()
            if not future.state.is_completed():
                reasons[names[future]] = future.state.message
                _say(f"{names[future]} failed: {future.state.message}")
    return reasons


def _reason(status: int, log: Path) -> str:
    """Why a program ended with `status`: the signal, or the last line it wrote."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name} (SIGKILL: most often memory)"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return last.removeprefix("error: ") if not last.startswith("---") else f"exit status {status}"


def _report(videos: list[Video], reasons: dict[str, str], out: Path) -> dict[str, Any]:
    """Counts, the seconds that all finished videos took together, and a row per video."""
    rows: dict[str, dict[str, Any]] = {}
    for video in videos:
        name, receipt = video.sequence.name, read_receipt(out, video.sequence, video.made_from)
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
    run_stage("adapt", main)
