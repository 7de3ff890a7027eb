"""Daemons: known by number and start time, ended with all that they started, and nobody else's."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest
from waiting import ended, wait_for

from amd.runtime.files import read_json, write_json
from flows.daemons import find_daemon, last_line, start_daemon, stop_daemon

STUBBORN = "trap '' TERM; sleep 300 & echo $! > child; echo; echo started; touch ready; wait; wait"


def test_daemon_is_found_again_and_ends_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state"
    assert find_daemon(state, "one") is None
    assert not stop_daemon(state, "one", 1.0)
    started = start_daemon(state, "one", ["bash", "-c", STUBBORN], os.environ | {"TOLD": "this"})
    wait_for((tmp_path / "ready").exists, 10)
    assert find_daemon(state, "one") == started
    assert started.environ()["TOLD"] == "this"
    assert last_line(state, "one") == "started"
    assert stop_daemon(state, "one", 0.2)  # it does not listen to SIGTERM
    wait_for(lambda: ended(tmp_path / "child"), 5)
    assert find_daemon(state, "one") is None
    assert not list(state.glob("*.pid"))


def test_what_a_daemon_starts_while_it_ends_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has just been given a run waits for it to finish."""
    monkeypatch.chdir(tmp_path)
    late = "trap 'sleep 300 & echo $! > late; wait' TERM; touch ready; while [ ! -e late ]; do sleep 0.05; done"
    start_daemon(tmp_path, "one", ["bash", "-c", late], os.environ)
    wait_for((tmp_path / "ready").exists, 10)
    assert stop_daemon(tmp_path, "one", 60.0)
    assert ended(tmp_path / "late")


def test_number_that_another_process_has_now_is_let_be(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        born = psutil.Process(bystander.pid).create_time()
        write_json(tmp_path / "one.pid", {"pid": bystander.pid, "started": born - 60.0})
        assert find_daemon(tmp_path, "one") is None
        assert not stop_daemon(tmp_path, "one", 1.0)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x", "started": 0}', '{"pid": 1}'])
def test_damaged_record_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "one.pid").write_text(content)
    assert find_daemon(tmp_path, "one") is None


def test_second_start_adds_to_the_log(tmp_path: Path) -> None:
    for word in ("first", "second"):
        process = start_daemon(tmp_path, "one", ["echo", word], os.environ)
        wait_for(lambda process=process: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 5)
    assert (tmp_path / "one.log").read_text() == "first\nsecond\n"
    assert read_json(tmp_path / "one.pid")["pid"] == process.pid
