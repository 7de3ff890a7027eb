"""The fan-out over Dask's workers, as DVC runs the stage: several at once, and one of them killed in mid-video."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from adapt_project import CLIPS, attempts, change, copy_project, make_project, runs, wanted, written
from waiting import wait_for

STAGE = [sys.executable, "-m", "flows.adapt"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("prefect_dask", reason="the extra `scale` is not installed")
    folder = copy_project(original, tmp_path / "project", monkeypatch)
    change("adapt", runner="dask", workers=2)
    return folder


def programs(stage: psutil.Process) -> dict[str, psutil.Process]:
    """The programs of single videos below a stage, by video."""
    found = {}
    for process in stage.children(recursive=True):
        try:
            words = process.cmdline()
            if "flows.programs.adapt_video" in words and os.getpgid(process.pid) == process.pid:
                found[next(word for word in words if word.startswith("--sequence=")).partition("=")[2]] = process
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def start_stage() -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return subprocess.Popen(STAGE, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_killed_worker_costs_nothing_but_time(project: Path) -> None:
    change("adapt", iterations=30)
    process = start_stage()
    stage = psutil.Process(process.pid)
    try:
        wait_for(lambda: len(runs("RUNNING")) == 4, 180)  # pipeline, stage and two videos, on two workers
        victims = programs(stage)
        assert len(victims) == 2
        lost, program = next(iter(victims.items()))
        worker = program.parent()
        assert worker.pid != process.pid
        assert {each.parent().pid for each in victims.values()} != {worker.pid}
        os.kill(worker.pid, signal.SIGKILL)
        message = process.communicate(timeout=400)[1]
    finally:
        process.kill()
    assert process.returncode == 0, message
    report = json.loads(Path("metrics/adapt.json").read_text())
    assert (report["videos"], report["failed"]) == (3, 0)
    assert all(written(name) == wanted(name) for name in CLIPS)
    assert {name: attempts(name) for name in CLIPS} == {name: 2 if name == lost else 1 for name in CLIPS}
    finished = [name for name, _, _ in runs("FINISHED")]
    assert sorted(finished) == sorted([*CLIPS, "adapt", "pipeline"])
    assert not psutil.pid_exists(program.pid)


def test_stage_that_is_ended_ends_its_workers(project: Path) -> None:
    change("adapt", iterations=100_000)
    process = start_stage()
    stage = psutil.Process(process.pid)
    try:
        wait_for(lambda: len(runs("RUNNING")) == 4, 180)
        below = stage.children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C goes to the whole group
        message = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert process.returncode == 130, message
    wait_for(lambda: not any(each.is_running() for each in below), 30)
    assert not Path("predictions/adapted/done").exists()
