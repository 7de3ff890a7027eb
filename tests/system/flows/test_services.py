"""The services as `make services` starts them: real servers, real deployments, a worker, what they do by themselves."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from adapt_project import CLIPS, make_project, wanted, written
from backends import HOST, free_ports
from clips import encode
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from projects import change_params
from service_runs import Services, environment, prefect_client, run_deployment, running_services, services
from waiting import wait_for
from webhook import webhook

MODEL = "models/amd.safetensors"


@pytest.fixture(scope="module")
def hook() -> Iterator[tuple[str, list[dict]]]:
    """An address for alerts, and what came there."""
    with webhook() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, hook: tuple[str, list[dict]]) -> Iterator[Services]:
    project = make_project(tmp_path_factory.mktemp("project"))
    change_params(project / "params.yaml", inbox={"settle_s": 1.0}, adapt={"runner": "pool"})
    with running_services(project, AMD_ALERT_URL=hook[0]) as started:
        yield started


def tracked(running: Services, query: str) -> list:
    client = MlflowClient(running.mlflow)
    return client.search_runs([client.get_experiment_by_name("amd").experiment_id], query)


def fired(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    """The runs of a deployment that its schedule made and that ended well."""
    state = {"type": {"any_": ["COMPLETED"]}}
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id={"any_": [deployment]}, state=state))
    return [run for run in runs if run.auto_scheduled]


def states_of_tasks(client: SyncPrefectClient, run: UUID) -> list[str]:
    """The names of the states that the server knows, sorted."""
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run]}))
    return sorted(task.state.name for task in tasks if task.state)


def daemons(running: Services) -> dict[str, int]:
    """The process of every service."""
    folder = running.project / ".amd/services"
    return {path.stem: json.loads(path.read_text())["pid"] for path in folder.glob("*.pid")}


def test_dropped_video_is_segmented_by_the_worker(running: Services, hook: tuple[str, list[dict]]) -> None:
    """Beside it a file that is none, which is set aside with the reason and alerts."""
    inbox = running.project / "inbox"
    assert (running.project / "videos").is_dir()  # made by the start, as the inbox is
    encode(inbox / "good.mp4")
    (inbox / "bad.mp4").write_bytes(b"no video")
    wait_for(lambda: time.time() - (inbox / "bad.mp4").stat().st_ctime > 1.0, 10)  # settled: inbox.settle_s
    with prefect_client(running) as client:
        run = run_deployment(client, "inbox/inbox", model=MODEL)
        assert run.state.is_completed(), run.state.message
        wait_for(lambda: states_of_tasks(client, run.id) == ["Completed", "Refused"], 60)  # the server learns late
    (done,) = (inbox / "done").iterdir()
    (failed,) = (inbox / "failed").iterdir()
    assert len(list(done.glob("results/*/masks/*.png"))) == 12
    assert {path.name for path in done.iterdir()} == {"claim.json", "contact_sheet.png", "good.mp4", "results"}
    assert "not a readable video" in (failed / "reason.txt").read_text()
    wait_for(lambda: bool(hook[1]), 60)
    assert [(each["event"], each["file"]) for each in hook[1]] == [("amd.inbox.failed", "bad.mp4")]
    (parent,) = tracked(running, f"tags.`amd.pipeline` = '{run.id}'")
    (stage,) = tracked(running, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    (video,) = tracked(running, f"tags.`mlflow.parentRunId` = '{stage.info.run_id}'")
    assert (video.info.run_name, video.info.status, video.data.metrics["frames"]) == (done.name, "FINISHED", 12)
    assert stage.data.metrics == {"videos": 2, "failed": 1}


def test_schedule_fires_by_itself_and_outlasts_a_restart(running: Services) -> None:
    before = daemons(running)
    with prefect_client(running) as client:
        deployment = client.read_deployment_by_name("inbox/inbox")
        (schedule,) = deployment.schedules
        assert not schedule.active
        every = IntervalSchedule(interval=timedelta(seconds=20))
        client.update_deployment_schedule(deployment.id, schedule.id, active=True, schedule=every)
        try:
            wait_for(lambda: bool(fired(client, deployment.id)), 240)
            again = services("start", running.project, running.environment)
            assert again.returncode == 0, again.stderr
            assert daemons(running) == before
            (schedule,) = client.read_deployment_by_name("inbox/inbox").schedules
            assert schedule.active
        finally:
            client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def test_every_deployment_says_what_it_is_and_is_off(running: Services) -> None:
    with prefect_client(running) as client:
        deployments = {deployment.name: deployment for deployment in client.read_deployments()}
    assert deployments.keys() == {"refresh", "inbox", "evaluate", "run-program"}
    assert all(each.description and "amd" in each.tags for each in deployments.values())
    assert all(each.work_pool_name == "amd" for each in deployments.values())
    scheduled = {name: [schedule.active for schedule in each.schedules] for name, each in deployments.items()}
    assert scheduled == {"refresh": [False], "inbox": [False], "evaluate": [False], "run-program": []}


def test_stage_adapts_by_the_workers_of_a_pool(running: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"PREFECT_API_URL": running.prefect, "MLFLOW_TRACKING_URI": running.mlflow}
    command = [sys.executable, "-m", "flows.adapt"]
    done = subprocess.run(
        command, cwd=running.project, env=running.environment | places, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(running.project)
    assert all(written(name) == wanted(name) for name in CLIPS)
    with prefect_client(running) as client:
        by_pool = client.read_deployment_by_name("run-program/run-program")
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id={"any_": [by_pool.id]}))
    assert {run.name: run.state.name for run in runs} == dict.fromkeys(CLIPS, "Completed")
    (stage,) = tracked(running, "tags.`amd.stage` = 'adapt'")
    videos = tracked(running, f"tags.`mlflow.parentRunId` = '{stage.info.run_id}'")
    assert {(video.info.run_name, video.info.status) for video in videos} == {(name, "FINISHED") for name in CLIPS}


def test_nothing_listens_beyond_this_machine(running: Services) -> None:
    tree = [psutil.Process(pid) for pid in daemons(running).values()]
    tree += [child for process in tree for child in process.children(recursive=True)]
    listening = [
        connection.laddr
        for process in tree
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {HOST}
    ports = {int(running.environment[name]) for name in ("AMD_MLFLOW_PORT", "AMD_PREFECT_PORT")}
    assert ports <= {address.port for address in listening}


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    other, free = free_ports(2)
    with socket.socket() as listener:
        listener.bind((HOST, other))
        listener.listen()
        env = environment(tmp_path, AMD_MLFLOW_PORT=str(other), AMD_PREFECT_PORT=str(free))
        result = services("start", tmp_path, env)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: mlflow: port {other} is in use;")
    assert services("start", tmp_path, env | {"AMD_MLFLOW_PORT": "x"}).stderr.startswith(
        "error: AMD_MLFLOW_PORT is 'x'"
    )
    assert not list(tmp_path.glob(".amd/services/*.pid"))


def test_stop_ends_these_services_and_nothing_else(running: Services) -> None:
    """The last test of this file."""
    tree = [psutil.Process(pid) for pid in daemons(running).values()]
    tree += [child for process in tree for child in process.children(recursive=True)]
    assert len(tree) >= 4
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], cwd=running.project)
    try:
        stopped = services("stop", running.project, running.environment)
        assert (stopped.returncode, stopped.stdout.splitlines()) == (
            0,
            ["worker is stopped", "prefect is stopped", "mlflow is stopped"],
        )
        assert not any(process.is_running() for process in tree)
        assert bystander.poll() is None
        assert services("status", running.project, running.environment).stdout.count("does not run") == 3
    finally:
        bystander.kill()
        bystander.wait()
