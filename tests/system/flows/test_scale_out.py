"""The fan-out over Dask's workers, as DVC runs the stage: several at once, and one of them killed in mid-video."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from adapt_project import CLIPS, attempts, change, copy_project, runs, wanted, working_stage, written
from waiting import wait_for


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


def test_killed_worker_costs_nothing_but_time(project: Path) -> None:
    change("adapt", iterations=30)
    with working_stage() as process:
        victims = programs(psutil.Process(process.pid))
        assert len(victims) == 2
        lost, program = next(iter(victims.items()))
        worker = program.parent()
        assert worker.pid != process.pid
        assert {each.parent().pid for each in victims.values()} != {worker.pid}
        os.kill(worker.pid, signal.SIGKILL)
        message = process.communicate(timeout=400)[1]
    assert process.returncode == 0, message
    report = json.loads(Path("metrics/adapt.json").read_text())
    assert (report["videos"], report["failed"]) == (3, 0)
    assert all(written(name) == wanted(name) for name in CLIPS)
    assert {name: attempts(name) for name in CLIPS} == {name: 2 if name == lost else 1 for name in CLIPS}
    finished = [name for name, _, _ in runs("FINISHED")]
    assert finished[1:] == ["adapt", *CLIPS]  # after the pipeline's, which begins with the date
    assert not psutil.pid_exists(program.pid)


def test_stage_that_is_ended_ends_its_workers(project: Path) -> None:
    change("adapt", iterations=100_000)
    with working_stage() as process:
        below = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C goes to the whole group
        message = process.communicate(timeout=120)[1]
    assert process.returncode == 130, message
    wait_for(lambda: not any(each.is_running() for each in below), 30)
    assert not Path("predictions/adapted/done").exists()
