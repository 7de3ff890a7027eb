"""Programs that outlive the command that starts them: started once, known again, ended with all that they started.

A daemon's state is two files in a folder: `NAME.log`, its output, and `NAME.pid`, its process number with the time it
started at. Numbers come again; a process that has the number but another start time is somebody else's, and let be.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from amd.runtime.errors import UserError
from amd.runtime.files import read_json, write_json

POLL_S = 0.2
CLOCK_S = 1.0  # start times are reckoned from the boot's, which a corrected clock shifts a little


def start_daemon(folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str]) -> psutil.Process:
    """Start `command` in the current folder, in a session of its own; its output goes to the end of its log."""
    folder.mkdir(parents=True, exist_ok=True)
    with log_file(folder, name).open("a") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        started = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    process = psutil.Process(started.pid)
    write_json(_pid_file(folder, name), {"pid": process.pid, "started": process.create_time()})
    return process


def find_daemon(folder: Path, name: str) -> psutil.Process | None:
    """The daemon's process while it runs."""
    try:
        record = read_json(_pid_file(folder, name))
        process = psutil.Process(int(record["pid"]))
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - record["started"]) < CLOCK_S else None
    except (UserError, psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return None


def stop_daemon(folder: Path, name: str, grace_s: float) -> bool:
    """End the daemon and every process below it, by SIGKILL after `grace_s` seconds; whether it ran."""
    process = find_daemon(folder, name)
    if process is not None:
        alive, told, deadline = {process}, set(), time.monotonic() + grace_s
        while alive and time.monotonic() < deadline:
            for each in _with_children(alive) - told:  # also what was started since
                _send(each, signal.SIGTERM)
                told.add(each)
            alive = set(psutil.wait_procs(told, POLL_S)[1])
        stubborn = _with_children(alive)
        for each in stubborn:
            _send(each, signal.SIGKILL)
        psutil.wait_procs(stubborn)
    _pid_file(folder, name).unlink(missing_ok=True)
    return process is not None


def log_file(folder: Path, name: str) -> Path:
    """Where a daemon's output goes."""
    return folder / f"{name}.log"


def last_line(folder: Path, name: str) -> str:
    """The last line that a daemon wrote."""
    lines = log_file(folder, name).read_text(errors="replace").split(os.linesep)
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing written")


def _with_children(processes: set[psutil.Process]) -> set[psutil.Process]:
    found = set(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found.update(process.children(recursive=True))
    return found


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):  # psutil compares start times here as well
        process.send_signal(number)


def _pid_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pid"
