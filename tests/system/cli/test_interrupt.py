"""Ctrl-C: the slowest programs, in the middle of their work, end within seconds and say how to go on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from projects import change_params
from waiting import wait_for

from faults.workspace import Workspace, repro, workspace

LIMIT_S = 5.0  # on a machine that has nothing else to do
START_S = 240.0
POOL = """
import sys, time
from contextlib import closing
from amd.data.pool import each_in_pool
from amd.runtime.errors import exit_on_user_error

def nap(path):
    open(path, "w").close()
    time.sleep(300)

@exit_on_user_error
def main():
    with closing(each_in_pool(nap, [sys.argv[1]], 1)) as outcomes:
        list(outcomes)

if __name__ == "__main__":
    main()
"""
DESTRUCTOR = """
import os, signal, time
from amd.runtime.errors import exit_on_user_error

class Frame:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

@exit_on_user_error
def main():
    Frame()
    time.sleep(300)

main()
"""


@pytest.fixture(scope="module")
def project() -> Iterator[Workspace]:
    """A project with shards, in which training never ends."""
    with workspace(until="start") as made:
        change_params(made.project / "params.yaml", pretrain={"iterations": 1_000_000, "checkpoint_every": 1})
        yield made


@pytest.fixture(autouse=True)
def nothing_left(project: Workspace) -> Iterator[None]:
    yield
    left = [process.cmdline() for process in project.processes()]
    project.end_processes()
    assert not left


def test_training_under_dvc(project: Workspace) -> None:
    """Ctrl-C goes to the whole group once the training has saved a state."""
    log = project.log("interrupt")
    process = project.start(repro("pretrain"), log)
    at_work = lambda: bool(list(project.project.glob(".amd/pretrain*/*/state.safetensors")))
    wait_for(lambda: at_work() or process.poll() is not None, START_S)
    assert process.poll() is None, log.read_text()
    os.killpg(process.pid, signal.SIGINT)
    slack = max(1.0, os.getloadavg()[0] / os.cpu_count())
    wait_for(lambda: process.poll() is not None and not project.processes(), LIMIT_S * slack)
    assert process.returncode != 0
    said = log.read_text()
    assert "Traceback" not in said, said
    lines = said.splitlines()
    assert any("training: stopped at iteration" in line and "the same command continues" in line for line in lines)


def test_pool_in_the_midst_of_its_work(project: Workspace, tmp_path: Path) -> None:
    """As ingest and shard; the signal reaches the parent alone, which would wait for the item under way."""
    script, mark = tmp_path / "pool.py", tmp_path / "mark"
    script.write_text(POOL)
    process = subprocess.Popen(
        [sys.executable, script, mark], env=project.environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for(mark.exists, START_S)
    (worker,) = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said == "interrupted; the same command continues\n"
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, LIMIT_S)


def test_interruption_in_a_destructor_is_not_lost(project: Workspace) -> None:
    """Python drops what a destructor raises; decord's frames have one."""
    command = [sys.executable, "-c", DESTRUCTOR]
    done = subprocess.run(command, env=project.environment(), stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "interrupted; the same command continues\n")
