"""The services of a project, started as a user starts them, and runs of their deployments."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adapt_project import REPOSITORY
from backends import HOST, free_ports
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from waiting import wait_for

PROGRAM = [sys.executable, "-m", "flows.services"]


class Services(NamedTuple):
    """Servers that run, and the environment to start and to use them."""

    project: Path
    environment: dict[str, str]
    mlflow: str
    prefect: str


def environment(project: Path, **more: str) -> dict[str, str]:
    """Of programs of the services in `project`: this repository's code, one thread, loops that come round often."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PREFECT_", "AMD_"))}
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
    return kept | quick | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)} | more


def services(action: str, project: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, action]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def running_services(project: Path, **more: str) -> Iterator[Services]:
    """Start the services of a project, and stop them after the body."""
    shutil.copy(REPOSITORY / "prefect.yaml", project)
    mlflow, prefect = free_ports(2)
    env = environment(project, AMD_MLFLOW_PORT=str(mlflow), AMD_PREFECT_PORT=str(prefect), **more)
    try:
        started = services("start", project, env)
        assert started.returncode == 0, started.stderr
        yield Services(project, env, f"http://{HOST}:{mlflow}", f"http://{HOST}:{prefect}/api")
    finally:
        stopped = services("stop", project, env)
    assert stopped.returncode == 0, stopped.stderr


@contextmanager
def prefect_client(running: Services) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: running.prefect}), get_client(sync_client=True) as client:
        yield client


def run_deployment(client: SyncPrefectClient, name: str, seconds: float = 240, **parameters: Any) -> FlowRun:
    """A run of a deployment by the worker, when it has ended."""
    deployment = client.read_deployment_by_name(name)
    run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    return wait_until_final(client, run, seconds)


def wait_until_final(client: SyncPrefectClient, run: FlowRun, seconds: float = 240) -> FlowRun:
    wait_for(lambda: client.read_flow_run(run.id).state.is_final(), seconds)
    return client.read_flow_run(run.id)
