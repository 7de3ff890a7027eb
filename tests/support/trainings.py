"""Training programs as users run them: `python -m amd.training TASK`, by torchrun where there are several processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from projects import REPOSITORY
from waiting import wait_for

from amd.runtime.files import read_json


def environment() -> dict[str, str]:
    """Of a training on this repository's code, with one thread a process."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def command(task: str, params: Path, out: Path, *more: str, processes: int = 1) -> list[str]:
    """The program, whose state, model and history lie in the folder `out`."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [
        sys.executable, *(torchrun if processes > 1 else []), "-m", "amd.training", task, "--params", str(params),
        "--state", str(out / "state.safetensors"), "--out", str(out / "model.safetensors"),
        "--history", str(out / "history.json"), *more,
    ]  # fmt: skip


def run(task: str, params: Path, out: Path, *more: str, processes: int = 1) -> dict:
    """The history of a training that ends well."""
    out.mkdir(exist_ok=True)
    words = command(task, params, out, *more, processes=processes)
    result = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return read_json(out / "history.json")


def kill(task: str, params: Path, out: Path, *more: str, when: Callable[[Path], bool] = Path.exists) -> None:
    """Start a training, and kill it with all its processes when its state file is so; no model is there then."""
    out.mkdir(exist_ok=True)
    words, state = command(task, params, out, *more), out / "state.safetensors"
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: when(state) or process.poll() is not None, 200)
    assert process.poll() is None, "the training ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
