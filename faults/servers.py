"""Servers that a trial works with, and that are killed and started again under it."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from amd.runtime.processes import signal_group
from faults.workspace import MARKER, Workspace

HOST = "127.0.0.1"
START_S = 180.0  # MLflow's and Prefect's servers take tens of seconds on a busy machine
AWAY_S = 1.0
POLL_S = 0.2


@dataclass
class Server:
    """A server program of one address."""

    workspace: Workspace
    command: Sequence[str]
    address: str
    health: str
    process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers. RuntimeError when it does not."""
        environment = self.workspace.environment(PREFECT_HOME=str(self.workspace.beside / "prefect"))
        environment.pop(MARKER)  # it is no process of the command that is looked at
        log = self.workspace.beside / "logs" / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.address + self.health, timeout=5):
                    return
            except OSError:
                time.sleep(POLL_S)
        self.stop()
        raise RuntimeError(f"{self.command[2]}: the server did not start: {log.read_text(errors='replace')[-500:]}")

    def stop(self) -> None:
        """Kill it and its workers."""
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Kill it; after a moment it is there again."""
        self.stop()
        time.sleep(AWAY_S)
        self.start()


def mlflow_server(workspace: Workspace) -> AbstractContextManager[Server]:
    """An MLflow server of the project's own database."""
    port = _free_port()
    store = ("--backend-store-uri", f"sqlite:///{workspace.project / 'mlflow.db'}")
    place = ("--artifacts-destination", str(workspace.project / "mlartifacts"))
    command = (sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1")
    return _running(Server(workspace, (*command, *store, *place), f"http://{HOST}:{port}", "/health"))


def prefect_server(workspace: Workspace) -> AbstractContextManager[Server]:
    """A Prefect server with a database of its own."""
    port = _free_port()
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port), "--no-ui")
    return _running(Server(workspace, command, f"http://{HOST}:{port}/api", "/health"))


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]
