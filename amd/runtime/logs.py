"""What happened when: a JSON line an event in .amd/logs/events.jsonl, and the id of the run that it belongs to.

Enters: an event with its fields. Leaves: one line with time (UTC), level, event, run, stage, process and the fields.
The run's id is AMD_RUN_ID where a flow or a script sets it, else names the `dvc` process that the stages run under,
else this process. MLflow's parent run carries it as the tag amd.pipeline, and a flow sets it to its Prefect flow run,
so that one id leads from any of them to the others.

Processes append under a lock and start a new file at MAX_BYTES, which the standard library's rotation cannot do for
several of them. A log that cannot be written stops no work.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from amd.runtime.processes import dvc_process, identity

PIPELINE_VARIABLE = "AMD_RUN_ID"
STAGE_VARIABLE = "AMD_STAGE"  # tells a child process in which stage it works
EVENTS = Path(".amd/logs/events.jsonl")
MAX_BYTES = 8 << 20  # of one file
KEPT = 4  # older files
INTERRUPTED = 130  # exit status of a program that a signal ended


@contextmanager
def logged(stage: str, run: str | None = None, again: str = "dvc repro", **fields: Any) -> Iterator[None]:
    """Log the start (with `fields`) and the end of the body; what is logged inside, also by children, is `stage`'s.

    `run` names the run where it is not known yet (see run_id). An error that leaves the body is logged, and gets a
    note that says where the log is and that the command `again` goes on.
    """
    outer = {name: os.environ.get(name) for name in (PIPELINE_VARIABLE, STAGE_VARIABLE)}
    _set_environment({PIPELINE_VARIABLE: run or run_id(), STAGE_VARIABLE: stage})
    started = time.monotonic()
    try:
        event("start", **fields)
        yield
        event("end", seconds=round(time.monotonic() - started, 3))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or getattr(error, "code", None) == INTERRUPTED:
            event("interrupted", "warning", reason=str(error))
        else:
            event("failed", "error", reason=str(error), kind=type(error).__name__)
            error.add_note(f"log: {EVENTS} (run {run_id()}); continue with: {again}")
        raise
    finally:
        _set_environment(outer)


def event(name: str, level: str = "info", **fields: Any) -> None:
    """Append one event; `level` is debug, info, warning or error."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": name,
        "run": run_id(),
        "stage": os.environ.get(STAGE_VARIABLE),
        "pid": os.getpid(),
    }
    with suppress(OSError):  # a full disk, or a folder that may only be read
        _append(json.dumps(line | fields, default=str, ensure_ascii=False).encode(errors="replace") + b"\n")


def run_id() -> str:
    """The id of the pipeline run that this process is part of."""
    if given := os.environ.get(PIPELINE_VARIABLE):
        return given
    dvc = dvc_process()
    return f"dvc-{identity(dvc)}" if dvc else f"by-hand-{identity(psutil.Process())}"


def _append(line: bytes) -> None:
    EVENTS.parent.mkdir(parents=True, exist_ok=True)
    with EVENTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if EVENTS.exists() and EVENTS.stat().st_size + len(line) > MAX_BYTES:
            for number in range(KEPT, 0, -1):
                older = _numbered(number - 1)
                if older.exists():
                    older.replace(_numbered(number))
        with EVENTS.open("ab") as file:
            file.write(line)


def _numbered(number: int) -> Path:
    return EVENTS.with_suffix(f".{number}.jsonl") if number else EVENTS


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
