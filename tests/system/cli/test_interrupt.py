"""Ctrl-C: the slowest programs, in the middle of their work, end within seconds and say how to go on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from adapt_project import runs_a_video
from ruamel.yaml import YAML

from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
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
    """A project with shards and an untrained checkpoint, in which training and adaptation never end."""
    with workspace(until="start") as made:
        yaml = YAML()
        tree = yaml.load(made.project / "params.yaml")
        tree["pretrain"].update(iterations=1_000_000, checkpoint_every=1)
        tree["adapt"].update(iterations=1_000_000)
        yaml.dump(tree, made.project / "params.yaml")
        torch.manual_seed(0)
        architecture = Architecture("small", 3, 4, 0.1, "small", 64, 64)
        info = ModelInfo(architecture, object_segment=1, short_edge=48)
        save_checkpoint(made.project / "models/amd.safetensors", AMD(architecture), info)
        yield made


@pytest.fixture(autouse=True)
def nothing_left(project: Workspace) -> Iterator[None]:
    yield
    left = [process.cmdline() for process in project.processes()]
    project.end_processes()
    assert not left


def interrupt(project: Workspace, command: Sequence[str], at_work: Callable[[], bool]) -> list[str]:
    """Start a command, press Ctrl-C once it is at work, and give the lines it said; it must have ended in time."""
    for state in states(project):  # of an interrupted training before
        state.unlink()
    log = project.log("interrupt")
    process = project.start(command, log)
    wait_for(lambda: at_work() or process.poll() is not None, START_S)
    assert process.poll() is None, log.read_text()
    os.killpg(process.pid, signal.SIGINT)
    slack = max(1.0, os.getloadavg()[0] / os.cpu_count())
    wait_for(lambda: process.poll() is not None and not project.processes(), LIMIT_S * slack)
    assert process.returncode != 0
    said = log.read_text()
    assert "Traceback" not in said, said
    return said.splitlines()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.1f} s"
        time.sleep(0.05)


def states(project: Workspace) -> list[Path]:
    """What trainings under way have saved."""
    return list(project.project.glob(".amd/pretrain*/*/state.safetensors"))


def adapts(project: Workspace) -> bool:
    """Whether the programs of both videos compute."""
    leaders = [each for each in project.processes() if runs_a_video(each, project.project)]
    with suppress(psutil.Error):
        return sum(child.cpu_times().user > 0.5 for each in leaders for child in each.children()) == 2
    return False


def test_training_under_dvc(project: Workspace) -> None:
    said = interrupt(project, repro("pretrain"), lambda: bool(states(project)))
    assert any("training: stopped at iteration" in line and "the same command continues" in line for line in said)


def test_pipeline_flow(project: Workspace) -> None:
    command = [sys.executable, "-m", "flows.pipeline", "pretrain"]
    checkpoint = project.project / "models/amd.safetensors"  # no stage made it: the flow would refuse it
    aside = checkpoint.rename(project.project / "aside.safetensors")
    said = interrupt(project, command, lambda: bool(states(project)))
    assert said[-1] == "interrupted; the same command continues"
    aside.rename(checkpoint)


def test_fan_out(project: Workspace) -> None:
    said = interrupt(project, [sys.executable, "-m", "flows.adapt"], lambda: adapts(project))
    assert said[-1] == "interrupted; the same command continues"


def test_segmenting_with_adaptation(project: Workspace) -> None:
    video = next(project.project.glob("data/corpus/heldout/videos/*.mp4"))
    command = [sys.executable, "-m", "amd.cli", "segment", str(video), "--model", "models/amd.safetensors"]
    command += ["--out", "out", "--adapt", "1000000"]
    started = time.monotonic()
    begun = lambda: (project.project / "out").exists() and time.monotonic() > started + 5
    assert interrupt(project, command, begun)[-1] == "interrupted; the same command continues"


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
