"""The Prefect server of a flow that is started by hand or by DVC.

Prefect would start a temporary one by itself, but in this program's process group: Ctrl-C ends that server first, and
the flow then tries for minutes to tell it that it was interrupted. This one ends after the flow.
"""

from flows import settings

# isort: split
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from prefect.context import get_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from amd.runtime.errors import UserError
from amd.runtime.processes import program_group
from amd.runtime.store import VARIABLE, require_answer, store_uri

HOST = "127.0.0.1"
NO_API = (404,)  # HTTP's "not found": a server of something else
LOG = Path(".amd/logs/prefect.log")
GRACE_S = 10.0
POLL_S = 0.1
RECORD_S = 120.0  # patience with a server that records slower than a flow ran
LOOK_AGAIN_S = 2.0  # longer than the recorder waits
# One transaction a state, Prefect's default, falls behind a fan-out of short tasks. The interval is cut to whole
# seconds: below one, the server would go round and round without a pause.
RECORDER = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


@contextmanager
def prefect_server() -> Iterator[None]:
    """The server that PREFECT_API_URL names, else a temporary one for the body.

    Raises UserError when it does not answer, or when MLflow's does not, which the body's stages need: before any work.
    """
    require_answer(store_uri(), VARIABLE)
    if address := PREFECT_API_URL.value():
        profile = "" if os.environ.get("PREFECT_API_URL") else f" in the profile {get_settings_context().profile.name}"
        require_answer(str(address), f"PREFECT_API_URL{profile}", NO_API)
        yield
        return
    port = _free_port()
    url = f"http://{HOST}:{port}/api"
    program = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port))
    spared = ("--no-ui", "--no-scheduler", "--no-late-runs")  # of use to a server that stays
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context(LOG.open("w"))
        command = (*program, *spared)
        output = {"stdout": log, "stderr": subprocess.STDOUT}
        process = stack.enter_context(program_group(command, GRACE_S, env=RECORDER | os.environ, **output))
        _wait_until_healthy(url, process)
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        stack.callback(_send_the_rest)
        yield
        _send_the_rest()
        _wait_until_recorded(url)


def _send_the_rest() -> None:
    """Prefect sends log lines and states in the background, and at exit tries for a minute to reach a server gone."""
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=GRACE_S)


def _wait_until_recorded(url: str) -> None:
    """The server takes what tasks report into a queue, which is lost when it ends: wait until their number stands."""
    deadline, last = time.monotonic() + RECORD_S, None
    with suppress(OSError):  # the record is not worth a failure
        while (now := _ended_tasks(url)) != last and time.monotonic() < deadline:
            last = now
            time.sleep(LOOK_AGAIN_S)


def _ended_tasks(url: str) -> bytes:
    """The number of task runs that ended, as the server says it."""
    body = b'{"task_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}'
    request = urllib.request.Request(f"{url}/task_runs/count", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=GRACE_S) as answer:
        return answer.read()


def _wait_until_healthy(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + settings.SERVER_START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1.0):
                return
        except OSError:
            time.sleep(POLL_S)
    raise UserError(f"Prefect's temporary server did not start; see {LOG}, or set PREFECT_API_URL to one that runs")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]
