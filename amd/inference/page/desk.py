"""The page's jobs: what was dropped, worked on one at a time by programs of their own, and deleted at the end.

Input: files, and wishes for exports. Output: jobs as the page shows them. Everything lies below one folder, a folder
a job; a job's folder goes when the job is removed. Working means a program (amd.inference.page.work) whose group ends
with the job, with the page, or with a killed page.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from amd.config import Inbox
from amd.data.video.rules import refuse_entry, refuse_name, refuse_suffix
from amd.data.video.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from amd.inference.export import EXPORTS
from amd.inference.page.preview import HALF
from amd.runtime.errors import UserError
from amd.runtime.files import read_json
from amd.runtime.processes import POLL_S, ending, program_group

PROGRESS, ROW, KEPT, EXPORTED = "progress.json", "row.json", "kept", "exports"  # in a job's folder
SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
GRACE_S = 3.0  # for a program to end
THRESHOLDS = (0.05, 0.95)  # of an export


@dataclass(frozen=True)
class Asked:
    """How everything is segmented; as of amd.inference.methods.Choice."""

    model: str | None = None
    method: str | None = None
    device: str = "auto"

    @property
    def takes_images(self) -> bool:
        """Whether an image, which has no motion, can be segmented."""
        return self.method in (None, "fused", "amd")

    def words(self) -> tuple[str, ...]:
        """On the command line of a program."""
        model = ("--model", self.model) if self.model else ()
        method = ("--method", self.method) if self.method else ()
        return (*model, *method, "--device", self.device)


@dataclass(eq=False)
class Step:
    """A piece of work: the segmenting of a job, or one export of it."""

    state: str = "queued"  # then working, then done or failed
    error: str = ""  # one line


@dataclass
class Job:
    """One dropped file."""

    id: str
    folder: Path  # where all of it lies
    file: Path
    main: Step = field(default_factory=lambda: Step("uploading"))
    exports: dict[str, Step] = field(default_factory=dict)  # by kind@threshold
    row: dict[str, Any] = field(default_factory=dict)  # of the summary, once it is done
    removed: bool = False


class _Task(NamedTuple):
    job: Job
    step: Step
    words: tuple[str, ...]  # of the program's command line


class Desk:
    """All jobs; use it as a context. Its methods may be called from any thread."""

    def __init__(self, root: Path, limits: Inbox, asked: Asked) -> None:
        self.limits, self.asked = limits, asked
        self._root = root
        self._jobs: dict[str, Job] = {}
        self._tasks: deque[_Task] = deque()
        self._current: _Task | None = None
        self._count = 0
        self._change = threading.Condition()
        self._ended = False
        self._worker = threading.Thread(target=self._work, name="desk", daemon=True)

    def __enter__(self) -> "Desk":
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._change:
            self._ended = True
            self._change.notify_all()
        self._worker.join()

    def open(self, name: str) -> Job:
        """A job for a file of that name, which the caller writes to `job.file`. UserError for a refused name."""
        if reason := refuse_name(name) or refuse_suffix(name, SUFFIXES):
            raise UserError(f"{name}: {reason}")
        with self._change:
            self._count += 1
            folder = self._root / str(self._count)
            job = Job(str(self._count), folder, folder / "input" / name)
            self._jobs[job.id] = job
        job.file.parent.mkdir(parents=True)
        return job

    def submit(self, job: Job) -> None:
        """Queue a job whose file is there. UserError, and the job is gone, when the file is refused."""
        if reason := refuse_entry(job.file, self.limits, SUFFIXES):
            self.remove(job.id)
            raise UserError(f"{job.file.name}: {reason}")
        words = ("segment", str(job.file), str(job.folder), *self.asked.words())
        self._queue(_Task(job, job.main, words))

    def export(self, number: str, kind: str, threshold: float = HALF) -> str:
        """Queue an export, unless it is there or on its way; its key. UserError for one that cannot be."""
        job = self.job(number)
        if kind not in EXPORTS or not THRESHOLDS[0] <= threshold <= THRESHOLDS[1] or job.main.state != "done":
            raise UserError(f"{kind} at {threshold:g}: no such export of {job.file.name}")
        key = f"{kind}@{threshold:g}"
        with self._change:
            known = job.exports.get(key)
            if known is not None and known.state != "failed":
                return key
            step = job.exports[key] = Step()
        words = ("export", str(job.file), str(job.folder), "--kind", kind, "--threshold", f"{threshold:g}")
        self._queue(_Task(job, step, words))
        return key

    def exported(self, number: str, key: str) -> Path:
        """The file of an export that is done. UserError when there is none."""
        job = self.job(number)
        if key in job.exports and job.exports[key].state == "done":
            return next((job.folder / EXPORTED / key).iterdir())
        raise UserError(f"{key}: no such export of {job.file.name}")

    def preview(self, number: str) -> Path:
        """What the page plays of a job. UserError while there is none."""
        found = next((self.job(number).folder / KEPT).glob("preview.*"), None)
        if found is None:
            raise UserError(f"job {number}: no preview yet")
        return found

    def job(self, number: str) -> Job:
        """A job by its number. UserError when there is none."""
        with self._change:
            if number not in self._jobs:
                raise UserError(f"job {number}: not there (any more)")
            return self._jobs[number]

    def remove(self, number: str) -> None:
        """Forget a job, end what works on it, delete its files."""
        job = self.job(number)
        with self._change:
            del self._jobs[number]
            job.removed = True
            busy = self._current is not None and self._current.job is job
        if not busy:  # else the worker deletes them once its program has ended
            shutil.rmtree(job.folder, ignore_errors=True)

    def view(self) -> list[dict[str, Any]]:
        """Every job for the page, in the order of dropping."""
        with self._change:
            jobs, current = list(self._jobs.values()), self._current
            waiting = [task.step for task in self._tasks]
        return [_shown(job, current, waiting) for job in jobs]

    def _queue(self, task: _Task) -> None:
        with self._change:
            task.step.state, task.step.error = "queued", ""
            self._tasks.append(task)
            self._change.notify_all()

    def _work(self) -> None:
        for task in self._each():
            task.step.error = self._run(task)
            task.step.state = "failed" if task.step.error else "done"
            with self._change:
                self._current = None
            if task.job.removed:
                shutil.rmtree(task.job.folder, ignore_errors=True)

    def _each(self) -> Iterator[_Task]:
        """Tasks as they come, until the end; those of removed jobs are dropped."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._tasks or self._ended)
                if self._ended:
                    return
                task = self._tasks.popleft()
                if task.job.removed:
                    continue
                task.step.state, self._current = "working", task
            yield task

    def _run(self, task: _Task) -> str:
        """Run a task's program; why it failed, empty when it did not."""
        job, log = task.job, task.job.folder / "log.txt"
        (job.folder / PROGRESS).unlink(missing_ok=True)
        command = (sys.executable, "-m", "amd.inference.page.work", *task.words)
        deadline = time.monotonic() + self.limits.timeout_s
        environment = os.environ | {"TMPDIR": str(job.folder)}  # what PyTorch leaves there goes with the job, too
        with (
            log.open("w") as output,
            program_group(command, GRACE_S, stdout=output, stderr=subprocess.STDOUT, env=environment) as running,
        ):
            while (status := running.poll()) is None:
                if self._ended or job.removed:
                    return "removed"
                if time.monotonic() > deadline:
                    return f"not finished after {self.limits.timeout_s:g} s (inbox.timeout_s)"
                time.sleep(POLL_S)
        if status:
            return ending(status, log)
        if task.step is job.main:
            job.row = read_json(job.folder / ROW)
        return ""


def _shown(job: Job, current: _Task | None, waiting: list[Step]) -> dict[str, Any]:
    """A job as the page has it; times and shares as of the summary of `amd segment`."""
    shown: dict[str, Any] = {"id": job.id, "name": job.file.name, **_step(job.main, waiting), "row": job.row}
    shown["exports"] = {key: _step(step, waiting) for key, step in dict(job.exports).items()}
    if current is not None and current.job is job:
        with suppress(UserError):  # nothing is told yet
            shown["progress"] = read_json(job.folder / PROGRESS)
    return shown


def _step(step: Step, waiting: list[Step]) -> dict[str, Any]:
    ahead = waiting.index(step) if step in waiting else 0
    return {"state": step.state, "error": step.error, "ahead": ahead}
