"""Programs without a start-up: one process has imported a program's modules, and forks for every run of it.

A fan-out runs the same program for every video, whose imports can take longer than the work on a GPU does. Each run
still is a process group of its own, which crashes, is timed out and is ended alone. The two sides talk over sockets:
a request is the run's arguments, environment and folder, with its output and a link; over the link come the group's
number and then the exit status, and when this side of it closes, also because the process was killed, the group ends.

By hand: Python's own forkserver, tried in its place in one run, starts as fast (1.0 s of processor time a video with
either, the work alone 0.67), but 1.9 s slower where a flow is the main program, which every child imports again; and
when it is killed it loses the exit status of what runs and fails the next start, which tests of kills forbid.

Linux only: elsewhere `Zygote.run` always says Unserved.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NoReturn, cast

LONGEST = 1 << 17  # bytes of a request; Linux takes messages of 200 kB
STATUS = 64  # bytes of an answer


class Unserved(Exception):
    """The run has not begun, and will not: it is for a program of its own."""


class Zygote:
    """The process that forks runs of `python -m module`; it starts with `start` or the first, and ends with `end`."""

    def __init__(self, module: str, grace_s: float) -> None:
        self.module = module
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._process: subprocess.Popen | None = None
        self._links: set[socket.socket] = set()
        self._ended = False

    def start(self, environment: Mapping[str, str], folder: Path) -> None:
        """Begin to import the module, as for a run of this environment and folder; without effect where there is none.

        What else takes seconds can be done meanwhile.
        """
        with self._lock, suppress(OSError):
            if self._process is None and not self._ended:
                self._start(environment, folder)

    def end(self) -> None:
        """Ask every run to end, as by SIGTERM; `run` returns when it has."""
        with self._lock:
            self._ended = True
            for link in self._links:
                _hang_up(link)
            if self._process:
                cast(socket.socket, self._requests).close()
                self._process.terminate()
                self._process.wait()

    def run(
        self, arguments: Sequence[str], timeout_s: float, output: IO, environment: dict[str, str], folder: Path
    ) -> int:
        """Run the program to its end and give its exit status, negative for a signal.

        Raises TimeoutExpired, with the whole group ended, after `timeout_s` seconds; Unserved where there is no zygote.
        """
        request = {"arguments": arguments, "environment": environment, "folder": str(folder), "grace_s": self._grace_s}
        link = self._send(json.dumps(request).encode(), output, environment, folder)
        try:
            group = link.recv(STATUS)
            if not group:
                raise Unserved
            return _status(link, int(group), timeout_s, arguments)
        finally:
            with self._lock:
                self._links.remove(link)
            link.close()

    def _send(self, request: bytes, output: IO, environment: dict[str, str], folder: Path) -> socket.socket:
        with self._lock:  # between a request and its entry nobody stops
            if self._ended:
                raise Unserved
            try:
                if self._process is None:
                    self._start(environment, folder)
                ours, theirs = _pair()
                with theirs:
                    socket.send_fds(cast(socket.socket, self._requests), [request], [output.fileno(), theirs.fileno()])
            except OSError:
                raise Unserved from None
            self._links.add(ours)
            return ours

    def _start(self, environment: Mapping[str, str], folder: Path) -> None:
        self._requests, theirs = _pair()
        os.close(os.pidfd_open(os.getpid()))  # OSError on kernels without, too
        with theirs:
            command = (sys.executable, "-m", "amd.runtime.zygote", str(theirs.fileno()), self.module)
            nothing: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            self._process = subprocess.Popen(
                command, env=environment, cwd=folder, pass_fds=[theirs.fileno()], start_new_session=True, **nothing
            )


def _pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection that keeps messages apart; OSError on systems without."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _status(link: socket.socket, group: int, timeout_s: float, arguments: Sequence[str]) -> int:
    link.settimeout(None if timeout_s == float("inf") else timeout_s)
    try:
        status = link.recv(STATUS)
    except TimeoutError:
        _hang_up(link)
        link.settimeout(None)
        link.recv(STATUS)  # when the group has ended
        raise subprocess.TimeoutExpired(arguments, timeout_s) from None
    if not status:  # the guardian was killed; what it guarded may live
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        return -signal.SIGKILL
    return int(status)


def _hang_up(link: socket.socket) -> None:
    with suppress(OSError):  # the other side has ended
        link.shutdown(socket.SHUT_WR)


def main() -> None:
    """The zygote: import the module, fork a guardian for every request until the other side closes."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    module = importlib.import_module(sys.argv[2])
    gc.freeze()  # a child that looked for garbage there would copy the pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the guardians
    while True:
        request, files, *_ = socket.recv_fds(requests, LONGEST, 2)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            _guard(module, json.loads(request), *files)
        for file in files:
            os.close(file)


def _guard(module: ModuleType, request: dict[str, Any], output: int, link: int) -> NoReturn:
    """Lead a group in which a child runs the program; tell the status, and end the group when the link closes."""
    os.setsid()
    for number, action in ((signal.SIGCHLD, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_IGN)):
        signal.signal(number, action)
    worker = os.fork()
    if worker == 0:
        os.close(link)
        _work(module, request, output)
    os.close(output)
    os.write(link, str(os.getpid()).encode())
    ended = os.pidfd_open(worker)
    if ended not in select.select([ended, link], [], [])[0]:
        os.killpg(0, signal.SIGTERM)  # not this process, which ignores it
        if not select.select([ended], [], [], request["grace_s"])[0]:
            os.killpg(0, signal.SIGKILL)  # this process, too; the other side knows what that means
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with suppress(OSError):
        os.write(link, str(status).encode())
    os.killpg(0, signal.SIGKILL)  # what the run has left, and this process
    os._exit(0)


def _work(module: ModuleType, request: dict[str, Any], output: int) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(request["environment"])  # imports may have set more
    os.chdir(request["folder"])
    for number in (1, 2):
        os.dup2(output, number)
    sys.argv = [str(module.__file__), *request["arguments"]]
    os._exit(_run(module))  # at once: to take so many modules down takes a second


def _run(module: ModuleType) -> int:
    """What the program's exit status would be."""
    status: int | str | None = 0
    try:
        module.main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status or 0


if __name__ == "__main__":
    main()
