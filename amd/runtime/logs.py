"""What happened when: a JSON line an event in .amd/logs/events.jsonl, and the id of the run that it belongs to.

Input: an event with its fields. Output: one line with time (UTC), level, event, run, stage, process and the fields.
The run's id is AMD_RUN_ID where a flow or a script sets it, else names the `dvc` process that the stages run under,
else this process. MLflow's parent run carries it as the tag amd.pipeline, and a flow sets it to its Prefect flow run,
so that one id leads from any of them to the others.

Python's logging writes it, with a formatter of our own: a JSON library's would have to be told every field's name and
place, too. A log that cannot be written stops no work.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import psutil

from amd.runtime.files import file_lock
from amd.runtime.processes import dvc_process, environment, identity

PIPELINE_VARIABLE = "AMD_RUN_ID"
RUN_VARIABLE = "AMD_MLFLOW_RUN"  # tells a child process which run to log to (amd.runtime.tracking)
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
    started = time.monotonic()
    with environment(**{PIPELINE_VARIABLE: run or run_id(), STAGE_VARIABLE: stage}):
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


def event(name: str, level: str = "info", **fields: Any) -> None:
    """Append one event; `level` is debug, info, warning or error."""
    _LOGGER.log(logging.getLevelNamesMapping()[level.upper()], name, extra={"fields": fields})


def run_id() -> str:
    """The id of the pipeline run that this process is part of."""
    if given := os.environ.get(PIPELINE_VARIABLE):
        return given
    dvc = dvc_process()
    return f"dvc-{identity(dvc)}" if dvc else f"by-hand-{identity(psutil.Process())}"


class _EventLine(logging.Formatter):
    """An event as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg,
            "run": run_id(),
            "stage": os.environ.get(STAGE_VARIABLE),
            "pid": record.process,
        }
        return json.dumps(line | record.fields, default=str, ensure_ascii=False)  # type: ignore[attr-defined]


class _EventFile(RotatingFileHandler):
    """Python's file that rotates, for several processes: every event opens it under a lock of them all."""

    def __init__(self) -> None:
        super().__init__(EVENTS, backupCount=KEPT, delay=True, encoding="utf-8", errors="replace")
        self.setFormatter(_EventLine())

    def emit(self, record: logging.LogRecord) -> None:
        self.baseFilename, self.maxBytes = str(EVENTS.resolve()), MAX_BYTES  # below the folder that is current now
        try:
            with file_lock(EVENTS.with_suffix(".lock")):
                super().emit(record)
                self.close()
        except OSError:  # the lock cannot be had
            self.handleError(record)

    def rotation_filename(self, default_name: str) -> str:
        """events.1.jsonl, where Python's own would be events.jsonl.1."""
        whole, _, number = default_name.rpartition(".")
        return str(Path(whole).with_suffix(f".{number}.jsonl"))

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk, or a folder that may only be read, is passed over; anything else is a mistake here."""
        error = sys.exc_info()[1]
        if error and not isinstance(error, OSError):
            raise error


# Made by hand: a library that configures logging would disable a logger of logging.getLogger.
_LOGGER = logging.Logger("amd.events", logging.DEBUG)
_LOGGER.addHandler(_EventFile())
