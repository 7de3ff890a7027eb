"""The services of a machine: an MLflow server, a Prefect server with the deployments, a worker (docs/operations.md).

`python -m flows.services start|stop|status` (`make services`, `make services-stop`). All listen on 127.0.0.1 alone.
State, logs and process numbers are in .amd/services; MLflow's default store is the project's own mlflow.db, so that
what was made without a server is there. The environment says otherwise: see VARIABLES.
"""

from flows import settings

# isort: split
import argparse
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings

from amd.config import DEFAULT_PATH, load_params
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import run_lock
from flows import alerts
from flows.daemons import find_daemon, last_line, log_file, start_daemon, stop_daemon

HOST = "127.0.0.1"
FOLDER = Path(".amd/services")
POOL = "amd"
INBOX, WATCHED = "inbox", "videos"  # of prefect.yaml, and of params.yaml where it is not there
DEPLOYMENTS = Path("prefect.yaml")
WORKER = f"amd-{platform.node()}"
GRACE_S = 60.0  # a training that is told to end saves its state
POLL_S = 0.2
NAMES = ("mlflow", "prefect", "worker")  # in the order they start; they end in the other
BACKEND = "MLFLOW_BACKEND_STORE_URI"
VARIABLES = {
    "AMD_MLFLOW_PORT": "MLflow's port (5000)",
    "AMD_PREFECT_PORT": "Prefect's port (4200)",
    BACKEND: "MLflow's database (sqlite:///mlflow.db)",
    "MLFLOW_ARTIFACTS_DESTINATION": "MLflow's artifacts, such as s3://bucket/path (mlartifacts)",
    "MLFLOW_S3_ENDPOINT_URL": "the server of an s3:// address that is not Amazon's",
    "AMD_PREFECT_DATABASE_URL": "Prefect's database, such as postgresql+asyncpg://… (.amd/services/prefect.db)",
    alerts.VARIABLE: "where failed files and refused models are told, as JSON (nowhere)",
}


@dataclass(frozen=True)
class Server:
    """A server to start and to wait for."""

    name: str
    port: int
    variable: str  # that sets the port
    health: str  # path that answers when it is ready
    command: tuple[str, ...]
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@exit_on_user_error
def main() -> None:
    """Read the command line."""
    lines = "\n".join(f"  {name:30}{text}" for name, text in VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="python -m flows.services",
        description="The MLflow and Prefect servers and the worker of this machine.",
        epilog=f"environment, with defaults:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("start", "stop", "status"))
    actions = {"start": start, "stop": stop, "status": status}
    actions[parser.parse_args().action]()


def start() -> None:
    """Start what does not run yet, apply the deployments, and say where everything is."""
    with run_lock(FOLDER / "lock", "services"):
        mlflow, prefect = _mlflow(), _prefect()
        address, folders = alerts.alert_address(), _folders()
        with ExitStack() as undo:  # what this call started ends again when not all of it starts
            for server in (mlflow, prefect):
                _start_server(server, undo)
            for server in (mlflow, prefect):
                _wait(server.name, lambda url=server.url + server.health: _answers(url))
            with temporary_settings({PREFECT_API_URL: f"{prefect.url}/api"}):
                _deploy(address)
                _start_worker(mlflow, prefect, undo)
            undo.pop_all()
    print(f"MLflow {mlflow.url}, Prefect {prefect.url}, a worker of the pool {POOL}; logs and state in {FOLDER}")
    print(f"inbox {folders[0]}; watched folder {folders[1]}; alerts {'are posted' if address else 'off'}")
    print(f"export MLFLOW_TRACKING_URI={mlflow.url} PREFECT_API_URL={prefect.url}/api   # to use them from here")


def stop() -> None:
    """End the services that `start` started here, and nothing else."""
    with run_lock(FOLDER / "lock", "services"):
        for name in reversed(NAMES):
            if stop_daemon(FOLDER, name, GRACE_S):
                print(f"{name} is stopped")


def status() -> None:
    """Print which services run."""
    for name in NAMES:
        process = find_daemon(FOLDER, name)
        print(f"{name:8} {f'runs, process {process.pid}' if process else 'does not run'}; {log_file(FOLDER, name)}")


def _folders() -> tuple[Path, Path]:
    """The inbox and the watched folder (data.videos), which are made where they are not there."""
    watched = load_params().data.videos if DEFAULT_PATH.exists() else ""
    folders = Path(INBOX), Path(watched or WATCHED)
    for folder in folders:
        if not folder.exists():  # data.videos may be one video, or a file that lists them
            folder.mkdir(parents=True)
    return folders[0].resolve(), folders[1].resolve()


def _mlflow() -> Server:
    port = _port("AMD_MLFLOW_PORT", 5000)
    store = os.environ.get(BACKEND) or f"sqlite:///{Path('mlflow.db').resolve()}"
    artifacts = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or str(Path("mlartifacts").resolve())
    command = (sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1")
    environment = {key: value for key, value in _environment().items() if key != "MLFLOW_TRACKING_URI"} | {
        BACKEND: store,  # not on the command line, which every user of the machine can read: it may have a password
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # MLflow's judging of language models, four more processes
    }
    return Server("mlflow", port, "AMD_MLFLOW_PORT", "/health", command, environment)


def _prefect() -> Server:
    port = _port("AMD_PREFECT_PORT", 4200)
    database = os.environ.get("AMD_PREFECT_DATABASE_URL")
    environment = _environment() | {
        "PREFECT_API_DATABASE_CONNECTION_URL": database or f"sqlite+aiosqlite:///{(FOLDER / 'prefect.db').resolve()}",
        "PREFECT_UI_API_URL": f"http://{HOST}:{port}/api",
        # By default in the server's memory: after its restart a deployment whose run was cut off would never run again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port))
    return Server("prefect", port, "AMD_PREFECT_PORT", "/api/health", command, environment)


def _environment() -> dict[str, str]:
    """This process's, with its Python first and Prefect's own files in the services' folder."""
    home = (FOLDER / "prefect").resolve()
    home.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    return kept | {"PATH": settings.path(), "PREFECT_HOME": str(home)}


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise UserError(f"{variable} is {text!r}; give a port from 1 to 65535")
    return int(text)


def _start_server(server: Server, undo: ExitStack) -> None:
    if find_daemon(FOLDER, server.name) is not None:
        return
    if _port_taken(server.port):
        raise UserError(f"{server.name}: port {server.port} is in use; end what listens there or set {server.variable}")
    if server.name == "mlflow":
        _prepare_store(server.environment[BACKEND])
    start_daemon(FOLDER, server.name, server.command, server.environment)
    undo.callback(stop_daemon, FOLDER, server.name, GRACE_S)


def _prepare_store(uri: str) -> None:
    """Set up a new SQLite store before the server does, under the lock that every other user of it takes."""
    if uri.startswith("sqlite") and "MLFLOW_ARTIFACTS_DESTINATION" not in os.environ:
        program = "from amd.runtime import errors, tracking; errors.exit_on_user_error(tracking.connect)()"
        command, environment = [sys.executable, "-c", program], os.environ | {"MLFLOW_TRACKING_URI": uri}
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise UserError(
                (done.stderr.strip().splitlines() or ["mlflow: its store cannot be set up"])[-1].removeprefix("error: ")
            )


def _port_taken(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: not those closing
        try:
            listener.bind((HOST, port))
        except OSError:
            return True
    return False


def _wait(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + settings.SERVER_START_S
    while find_daemon(FOLDER, name) is not None:
        if ready():
            return
        if time.monotonic() > deadline:
            raise UserError(f"{name}: not ready after {settings.SERVER_START_S} s; see {log_file(FOLDER, name)}")
        time.sleep(POLL_S)
    raise UserError(f"{name}: ended at its start ({last_line(FOLDER, name)}); see {log_file(FOLDER, name)}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5.0):
            return True
    except OSError:
        return False


def _deploy(address: str | None) -> None:
    """Make the pool, the deployments of prefect.yaml and alerts to `address`; schedules that are on stay on."""
    with get_client(sync_client=True) as client:
        if address is not None:
            alerts.deliver_alerts(client, address)
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        with _active_schedules_kept(client):
            command = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
            environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        log_file(FOLDER, "deploy").write_text(done.stdout + done.stderr)
        raise UserError(f"{DEPLOYMENTS}: not applied; {log_file(FOLDER, 'deploy')} says why")


@contextmanager
def _active_schedules_kept(client: SyncPrefectClient) -> Iterator[None]:
    """prefect.yaml declares schedules as off, and applying it would switch them off."""
    before = {key for key, _, schedule in _schedules(client) if schedule.active}
    yield
    for key, deployment, schedule in _schedules(client):
        if key in before and not schedule.active:
            client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def _schedules(client: SyncPrefectClient) -> Iterator[tuple]:
    """Every schedule with a key that outlasts deploying, and its deployment."""
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            yield (deployment.name, schedule.slug), deployment, schedule


def _start_worker(mlflow: Server, prefect: Server, undo: ExitStack) -> None:
    if find_daemon(FOLDER, "worker") is not None:
        return
    names = ("--type", "process", "--pool", POOL, "--name", WORKER)
    command = (sys.executable, "-m", "prefect", "worker", "start", *names)
    places = {"PREFECT_API_URL": f"{prefect.url}/api", "MLFLOW_TRACKING_URI": mlflow.url}
    start_daemon(FOLDER, "worker", command, _environment() | places)
    undo.callback(stop_daemon, FOLDER, "worker", GRACE_S)
    with get_client(sync_client=True) as client:
        _wait("worker", lambda: any(worker.name == WORKER for worker in client.read_workers_for_work_pool(POOL)))


if __name__ == "__main__":
    main()
