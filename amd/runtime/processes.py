"""How this project starts and ends programs, and what it asks of processes; nothing that it starts outlives it.

    program_group   one program, in a process group that ends with the body, or with this process if that is killed
    Programs        many of them, which threads wait for; one module's may be forked (amd.runtime.zygote)
    follow          this process ends with another
    identity        a name of a process that no other process ever has

Elsewhere only what is something else: a pool of functions (amd.data.pool), programs that are to outlive their starter
(flows.daemons), and the trials of `faults`, which kill what they start.
"""

import ctypes
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import psutil

from amd.runtime.zygote import Unserved, Zygote

POLL_S = 0.05
FOLLOW_S = 0.5
BUSY_S = 0.2  # how long the machine is looked at, at least
RECENT_S = 5.0  # what was seen longer ago says nothing of now

# Ends the group when the pipe from this process closes, which the kernel sees to even if this process is killed.
LIFELINE = 'exec 3<&0; (cat <&3; kill 0) >/dev/null 2>&1 & exec "$@" </dev/null 3<&-'


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables of this process and of those it starts, for the body alone."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def program_group(command: Sequence[str], grace_s: float, **options: Any) -> Iterator[subprocess.Popen]:
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
    signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    pause = POLL_S / 64  # most groups are gone at once
    while _group_lives(process.pid) and time.monotonic() < deadline:
        process.poll()
        time.sleep(pause)
        pause = min(2 * pause, POLL_S)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()
    cast(IO, process.stdin).close()


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of a group; one that has ended is no error."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(group, number)


class Programs:
    """Programs that threads of this process run, each in a process group; all of them end with the `with` block.

    Those of `python -m often` are forked by one process that has imported it (amd.runtime.zygote), where that can be.
    """

    def __init__(self, grace_s: float, often: str | None = None) -> None:
        self._grace_s = grace_s
        self._zygote = Zygote(often, grace_s) if often else None
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen] = []
        self.stopped = False

    def __enter__(self) -> "Programs":
        return self

    def prepare(self, environment: Mapping[str, str], folder: Path) -> None:
        """Have the programs of `often` imported already, for runs of such an environment and folder."""
        if self._zygote:
            self._zygote.start(environment, folder)

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
                process = stack.enter_context(program_group(command, self._grace_s, **options))
                self._running.append(process)
                stack.callback(self._running.remove, process)
            return process.wait(timeout_s)


def ending(status: int, log: Path) -> str:
    """Why a program ended with `status`: the signal, or the last line that it wrote into its log.

    Lines that begin with --- are the log's own.
    """
    if status < 0:
        return f"ended by {signal.Signals(-status).name} (SIGKILL: most often memory)"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "---")
    return last.removeprefix("error: ") if not last.startswith("---") else f"exit status {status}"


def follow(process: psutil.Process) -> None:
    """End this process as by SIGTERM once `process` has ended, even if it was killed."""
    leader = identity(process)

    def watch() -> None:
        while is_alive(leader):
            time.sleep(FOLLOW_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="follow", daemon=True).start()


def dvc_process() -> psutil.Process | None:
    """The `dvc repro` that this process runs under."""
    for ancestor in psutil.Process().parents():
        with suppress(psutil.Error):  # some systems hide other users' processes
            if any(Path(word).name in ("dvc", "dvc.exe") for word in ancestor.cmdline()[:3]):
                return ancestor
    return None


def dvc_is_gone() -> bool:
    """Whether DVC started this process and has ended since: the parent is then what takes orphans in, of no session
    of ours."""
    return "DVC_STAGE" in os.environ and os.getsid(os.getppid()) != os.getsid(0)


def identity(process: psutil.Process) -> str:
    """A name of a process of this machine that no other process has: process numbers come again.

    Linux counts the start from boot, so that setting the clock does not change the name.
    """
    try:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # another system
        start = f"{process.create_time():.2f}"
    return f"{platform.node()}-{process.pid}-{start}"


def is_alive(name: str) -> bool:
    """Whether the process of an `identity` of this machine still runs; a zombie does not."""
    with suppress(psutil.Error, ValueError):
        process = psutil.Process(int(name.rsplit("-", 2)[1]))
        return identity(process) == name and process.status() != psutil.STATUS_ZOMBIE
    return False


def is_of_this_machine(name: str) -> bool:
    """Whether an `identity` is of a process of this machine, which alone can say whether it lives."""
    return name.rsplit("-", 2)[0] == platform.node()


def _group_lives(group: int) -> bool:
    """Whether a process of the group runs; one that ended and waits for its parent does not count."""
    for number in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(number) == group and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                return True
    return False


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of glibc's mallopt
LARGEST_KEPT = 32 << 20  # bytes; glibc maps larger blocks one by one whatever it is told
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep blocks that it frees, for itself; for programs, not for libraries inside others'.

    Blocks above 32 MB still go back, so that the peak of a large network hardly changes. False, and without effect,
    where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(TRIM_THRESHOLD, NEVER))


class _Look(NamedTuple):
    """Seconds: a moment, and how long this process's cores together were idle until then, and the process at work."""

    moment: float
    idle: float
    own: float


def _look() -> _Look:
    times = psutil.cpu_times(percpu=True)
    ours = [times[core] for core in _cores()]
    idle = sum(core.idle + getattr(core, "iowait", 0.0) for core in ours)
    return _Look(time.monotonic(), idle, time.process_time())


def _cores() -> Collection[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


_BEGUN = _look()  # a program's start: its imports are time enough to see what others do


def free_threads() -> int:
    """How many cores of this process are not busy with something else, at least one.

    Threads that share a core wait for each other: on a busy machine more of them are slower than one.
    """
    before = _BEGUN if time.monotonic() - _BEGUN.moment < RECENT_S else _look()
    time.sleep(max(0.0, before.moment + BUSY_S - time.monotonic()))
    now = _look()
    free = (now.idle - before.idle + now.own - before.own) / (now.moment - before.moment)
    return max(1, min(len(_cores()), round(free)))


def limit_memory(megabytes: int) -> None:
    """Let this process have so much memory of its own and no more (Linux; elsewhere the limit has no effect)."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, most))


def limit_threads(count: int) -> None:
    """Let the libraries that compute in threads use so many of them in this process."""
    import cv2  # here: both take a second to import
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)
