"""Programs that threads wait for: whatever ends the one who started them, no process of theirs stays behind."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from amd.runtime.processes import end_group, process_group, signal_group
from flows.zygote import Unserved, Zygote


class Programs:
    """Programs that threads of this process run, each in a process group; all of them end with the `with` block.

    Those of `python -m often` are forked by one process that has imported it (flows.zygote), where the system can.
    """

    def __init__(self, grace_s: float, often: str | None = None) -> None:
        self._grace_s = grace_s
        self._zygote = Zygote(often, grace_s) if often else None
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen] = []
        self.stopped = False

    def __enter__(self) -> "Programs":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.stopped = True
            running = list(self._running)
        if self._zygote:
            self._zygote.end()
        for process in running:
            signal_group(process.pid, signal.SIGTERM)  # all at once, so that they share the time to end
        for process in running:
            end_group(process, self._grace_s)

    def run(self, command: Sequence[str], timeout_s: float, **options: Any) -> int:
        """Run a program (`options` as for Popen) to its end and give its exit status.

        Raises TimeoutExpired, with the whole group ended, after `timeout_s` seconds; RuntimeError once stopped.
        """
        if self._zygote and tuple(command[:3]) == (sys.executable, "-m", self._zygote.module):
            with suppress(Unserved):
                return self._zygote.run(command[3:], timeout_s, options["stdout"], options["env"], options["cwd"])
        with ExitStack() as stack:
            with self._lock:  # between a start and its entry in the list nobody stops
                if self.stopped:
                    raise RuntimeError("stopped; no program starts any more")
                process = stack.enter_context(process_group(command, self._grace_s, **options))
                self._running.append(process)
                stack.callback(self._running.remove, process)
            return process.wait(timeout_s)
