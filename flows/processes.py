"""Programs as process groups: whatever ends the one who started them, no process of theirs stays behind."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil

POLL_S = 0.05

# Ends the group when the pipe from this process closes, which the kernel sees to even if this process is killed.
LIFELINE = 'exec 3<&0; (cat <&3; kill 0) >/dev/null 2>&1 & exec "$@" </dev/null 3<&-'


@contextmanager
def process_group(command: Sequence[str], grace_s: float, **options: Any) -> Iterator[subprocess.Popen]:
    """Start `command` (`options` as for Popen) in a process group of its own, which ends with the body.

    What is left of the group then gets SIGTERM, and after `grace_s` seconds SIGKILL. A signal to this process's
    group, such as Ctrl-C, does not reach it.
    """
    words = ("sh", "-c", LIFELINE, "sh", *command)
    process = subprocess.Popen(words, start_new_session=True, stdin=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        end_group(process, grace_s)


def end_group(process: subprocess.Popen, grace_s: float) -> None:
    """End every process of the group that `process` leads, and reap `process`."""
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while _lives(process.pid) and time.monotonic() < deadline:
        process.poll()
        time.sleep(POLL_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()


class Programs:
    """Programs that threads of this process run, each in a process group; all of them end with the `with` block."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen] = []
        self.stopped = False

    def __enter__(self) -> "Programs":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.stopped = True
            running = list(self._running)
        for process in running:
            _signal_group(process.pid, signal.SIGTERM)  # all at once, so that they share the time to end
        for process in running:
            end_group(process, self._grace_s)

    def run(self, command: Sequence[str], timeout_s: float, **options: Any) -> int:
        """Run a program to its end and give its exit status.

        Raises TimeoutExpired, with the whole group ended, after `timeout_s` seconds; RuntimeError once stopped.
        """
        with ExitStack() as stack:
            with self._lock:  # between a start and its entry in the list nobody stops
                if self.stopped:
                    raise RuntimeError("stopped; no program starts any more")
                process = stack.enter_context(process_group(command, self._grace_s, **options))
                self._running.append(process)
                stack.callback(self._running.remove, process)
            return process.wait(timeout_s)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(group, number)


def _lives(group: int) -> bool:
    """Whether a process of the group runs; one that ended and waits for its parent does not count."""
    for number in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(number) == group and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                return True
    return False
