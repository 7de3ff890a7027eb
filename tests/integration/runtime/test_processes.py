"""Programs as process groups that leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from projects import REPOSITORY, python
from waiting import ended, wait_for

from amd.runtime.processes import Programs, program_group

STUBBORN = "trap '' TERM; sleep 300 & echo $! > child; touch ready; wait"


def test_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    with Programs(grace_s=0.2) as programs, pytest.raises(subprocess.TimeoutExpired):
        programs.run(["bash", "-c", STUBBORN], 1.0, cwd=tmp_path)
    wait_for(lambda: ended(tmp_path / "child"), 5)


def test_programs_end_with_their_block_and_none_starts_after(tmp_path: Path) -> None:
    statuses: list[int] = []
    with Programs(grace_s=0.2) as programs:
        run = lambda: statuses.append(programs.run(["bash", "-c", STUBBORN], 60.0, cwd=tmp_path))
        thread = threading.Thread(target=run)
        thread.start()
        wait_for((tmp_path / "ready").exists, 10)
    thread.join()
    assert statuses == [-signal.SIGKILL]
    wait_for(lambda: ended(tmp_path / "child"), 5)
    with pytest.raises(RuntimeError, match="stopped"):
        programs.run(["true"], 60.0)


def test_group_gets_time_to_end_well(tmp_path: Path) -> None:
    """The leader dies at once, as `dvc` does; its child needs a moment, and gets it."""
    slow = "(trap 'sleep 0.5; echo saved > state; exit' TERM; touch ready; while :; do sleep 0.05; done) & exit"
    with program_group(["bash", "-c", slow], grace_s=10.0, cwd=tmp_path):
        wait_for((tmp_path / "ready").exists, 10)
    assert (tmp_path / "state").read_text() == "saved\n"


def test_group_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    starter = f"""
from amd.runtime.processes import Programs
with Programs(9.0) as programs:
    programs.run(["bash", "-c", "sleep 300 & echo $! > child; touch ready; wait"], 300.0, cwd={str(tmp_path)!r})
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", starter], env=environment)
    try:
        wait_for((tmp_path / "ready").exists, 30)
        assert not ended(tmp_path / "child")
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: ended(tmp_path / "child"), 5)


LOADED = """
import os, subprocess, sys, time
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
from amd.runtime.processes import free_threads
time.sleep(0.5)
print(free_threads())
for each in busy:
    each.kill()
"""


def test_cores_that_others_keep_busy_are_not_free() -> None:
    assert python("-c", LOADED).stdout == "1\n"
