"""The pipeline's flow, with a real Prefect server and real DVC projects."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY, init_dvc
from waiting import ended, wait_for

from amd.runtime.errors import UserError
from flows.pipeline import pipeline, stage_order

# isort: split
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

pytestmark = pytest.mark.usefixtures("prefect_server")
DVC = (sys.executable, "-m", "dvc")


def server() -> dict[str, str]:
    """The environment of a program that is to use this file's Prefect server."""
    with get_client(sync_client=True) as client:
        return {**os.environ, "PREFECT_API_URL": str(client.api_url)}


STAGES = """stages:
  last:
    cmd: cat first.txt other.txt > last.txt; echo $AMD_RUN_ID >> runs.log
    deps: [first.txt, other.txt]
    outs: [last.txt]
  first:
    cmd: echo {value} > first.txt; echo $AMD_RUN_ID >> runs.log; echo made first
    params: [value]
    outs: [first.txt]
  other:
    cmd: echo 2 > other.txt
    outs: [other.txt]
"""


@pytest.fixture
def dvc_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of three stages as the current folder."""
    folder = tmp_path / "dvc_project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    init_dvc(STAGES.replace("{value}", "${value}"))
    Path("params.yaml").write_text("value: 1\n")
    Path("pipelines/side").mkdir(parents=True)
    Path("pipelines/side/dvc.yaml").write_text("stages:\n  side:\n    cmd: touch ran\n    outs: [ran]\n")
    return folder


def test_pipeline_leaves_the_lock_of_dvc_repro(dvc_project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = dvc_project.with_name("plain")
    shutil.copytree(dvc_project, plain)
    subprocess.run([*DVC, "repro", "-q"], cwd=plain, check=True)
    state = pipeline(return_state=True)
    order = state.result()
    assert sorted(order) == ["first", "last", "other"]
    assert order[-1] == "last"
    assert Path("dvc.lock").read_text() == (plain / "dvc.lock").read_text()
    assert "made first" in capfd.readouterr().out
    flow_run = state.state_details.flow_run_id
    assert Path("runs.log").read_text().split() == [str(flow_run)] * 2
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [flow_run]}))
    assert {task.name for task in tasks} == set(order)

    Path("params.yaml").write_text("value: 3\n")
    assert not Path("pipelines/side/ran").exists()
    assert pipeline(["first"]) == stage_order(["first"]) == ["first"]
    assert stage_order(["last"])[-1] == "last"
    with pytest.raises(UserError, match=r"^nothing: no stage of the pipeline"):
        stage_order(["nothing"])
    assert Path("first.txt").read_text() == "3\n"
    assert Path("last.txt").read_text() == "1\n2\n"


def test_pipeline_mends_what_a_killed_dvc_left(dvc_project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline()
    Path("dvc.lock").write_text("sche")
    Path(".dvc/tmp/rwlock").write_text("")
    assert subprocess.run([*DVC, "repro"], capture_output=True, check=False).returncode == 255
    pipeline()
    assert capfd.readouterr().out.count("was half-written") == 2
    assert subprocess.run([*DVC, "status", "-q", "dvc.yaml"], check=False).returncode == 0


def test_pipeline_tells_why_a_stage_failed(dvc_project: Path) -> None:
    Path("dvc.yaml").write_text(STAGES.replace("echo {value} > first.txt", "echo no such video >&2; exit 2"))
    with pytest.raises(UserError, match=r"^stage first failed; its last lines: .*no such video"):
        pipeline()
    assert not Path("last.txt").exists()


def test_pipeline_that_is_ended_ends_its_stage(dvc_project: Path) -> None:
    Path("dvc.yaml").write_text("stages:\n  long:\n    cmd: sleep 300 & echo $! > child; touch ready; wait\n")
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline"],
        env={**server(), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(Path("ready").exists, 60)
        flow.terminate()
        message = flow.communicate(timeout=120)[1]
    finally:
        flow.kill()
    assert (flow.returncode, message) == (130, "interrupted; the same command continues\n")
    wait_for(lambda: ended(Path("child")), 5)
