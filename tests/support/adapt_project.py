"""A small project for the tests of the fan-out over videos, and what they look at in it."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
from checkpoints import save_amd
from projects import REPOSITORY, change_params, write_params
from waiting import wait_for

from amd.config import load_params
from amd.data.synthetic.clips import make_corpus
from stages.receipts import ADAPTED

CLIPS = ("clip-0000", "clip-0001", "clip-0002")
ADAPT = {"iterations": 0, "batch_size": 1, "workers": 2, "threads": 1, "retries": 1, "timeout_s": 120.0}


def make_project(project: Path) -> Path:
    """A project with three held-out clips of four frames and a small untrained checkpoint."""
    corpus = {"train_clips": 1, "heldout_clips": 3, "frames": 4, "width": 64, "height": 48, "workers": 1}
    changes = {"corpus": corpus, "adapt": ADAPT, "fused": {"iterations": 1, "frames": 4}}
    write_params(project / "params.yaml", changes)
    make_corpus(project / "data/corpus", load_params(project / "params.yaml").corpus)
    save_amd(project / "models/amd.safetensors")
    return project


def copy_project(original: Path, folder: Path, monkeypatch) -> Path:
    """A copy of the project as the current folder; programs find this repository's code."""
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name in ("AMD_MLFLOW_RUN", "AMD_RUN_ID", "AMD_STAGE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def change(section: str, **values: object) -> None:
    """Change params.yaml of the current folder."""
    change_params(Path("params.yaml"), **{section: values})


def list_clips(*names: str) -> None:
    """Say which sequences the benchmark has."""
    Path("data/corpus/heldout/ImageSets/sequences.txt").write_text("".join(f"{name}\n" for name in names))


def attempts(name: str) -> int:
    """How often a video's program was started in the last run."""
    return Path(f".amd/logs/adapt/{name}.log").read_text().count("--- attempt")


def receipts() -> dict[str, int]:
    """When each receipt was written."""
    return {path.stem: path.stat().st_mtime_ns for path in Path("predictions/adapted/done/builtin-clips").iterdir()}


def written(name: str) -> set[str]:
    """Every prediction of a video."""
    return {str(path) for path in Path("predictions/adapted").glob(f"*/builtin-clips/{name}/*.png")}


def wanted(name: str) -> set[str]:
    """What `written` gives of a finished video."""
    folders = [f"predictions/adapted/{kind}/builtin-clips/{name}" for kind in ADAPTED]
    return {f"{folder}/{frame:05d}.png" for folder in folders for frame in range(4)}


def programs_of(project: Path) -> int:
    """How many programs of single videos run in `project`, with the zygote that forks them."""
    return sum(leads_in(process, project) for process in psutil.process_iter())


def leads_in(process: psutil.Process, project: Path) -> bool:
    try:  # a leader of its group: for a moment, what a program starts looks like the program
        video = "flows.programs.adapt_video" in process.cmdline() and os.getpgid(process.pid) == process.pid
        return video and process.cwd() == str(project)
    except (psutil.Error, ProcessLookupError, PermissionError):
        return False


def runs_a_video(process: psutil.Process, project: Path) -> bool:
    """Whether it leads the group of one video: as a program of its own, or forked by the zygote."""
    with suppress(psutil.Error):
        return leads_in(process, project) and (not is_forked(process) or is_forked(process.parent()))
    return False


def is_forked(process: psutil.Process | None) -> bool:
    return process is not None and "amd.runtime.zygote" in process.cmdline()


@contextmanager
def working_stage() -> Iterator[subprocess.Popen]:
    """The stage `adapt` as DVC runs it, while two of its videos are being worked on."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    words = [sys.executable, "-m", "flows.adapt"]
    stage = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: len(runs("RUNNING")) == 4, 180)  # the pipeline, the stage, and two videos
        yield stage
    finally:
        stage.kill()


@contextmanager
def most_programs(project: Path) -> Iterator[list[int]]:
    """Watch a flow; the list holds how many programs of videos were seen to run at the same time."""
    seen, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            seen.append(sum(runs_a_video(process, project) for process in psutil.process_iter()))

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def runs(status: str) -> list[tuple[str, str, str]]:
    """Name, number and parent of the MLflow runs of the current folder that are in a state."""
    query = """SELECT runs.name, runs.run_uuid, coalesce(tags.value, '') FROM runs LEFT JOIN tags
        ON tags.run_uuid = runs.run_uuid AND tags.key = 'mlflow.parentRunId' WHERE runs.status = ? ORDER BY runs.name"""
    try:  # not through MLflow: this must not set the store up
        with closing(sqlite3.connect("file:mlflow.db?mode=ro", uri=True)) as store:
            return store.execute(query, [status]).fetchall()
    except sqlite3.OperationalError:
        return []
