"""Faults that take away for a while what a stage works with: space, inputs, outputs, databases, servers.

What a fault takes away it gives back before it returns: afterwards the same command has to recover.
"""

import errno
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from faults.mounts import mount_read_only, unmount
from faults.servers import HOST, mlflow_server, prefect_server
from faults.trial import LIMIT_S, Missed, Trial

INPUTS = {  # of a stage: what it reads for most of its time
    "ingest": "data/corpus/train/*.mp4",
    "shard": "data/corpus/train/*.mp4",
    "pretrain": "data/shards/*.tar",
    "objectness": "data/shards/*.tar",
    "predict": "data/corpus/heldout/JPEGImages/480p/*/*.jpg",
    "adapt": "data/corpus/heldout/JPEGImages/480p/*/*.jpg",
    "evaluate_vos": "predictions/*/masks/*/*/*.png",
    "report": "predictions/*/masks/*/*/*.png",
}
SPARED = 200_000  # bytes: the most that a full disk still has


def disk_full(trial: Trial) -> None:
    """No space from a random moment until the command has ended."""
    trial.start()
    trial.wait_for_moment()
    filler, spared = trial.workspace.project / ".filler", trial.rng.randrange(SPARED)
    try:
        with filler.open("wb") as file:
            while not _fill(file, shutil.disk_usage(trial.workspace.project).free - spared):
                pass
        trial.finish()
    finally:
        filler.unlink()


def _fill(file: BinaryIO, size: int) -> bool:
    """Whether the disk is full but for what is spared: the stage writes, and removes, at the same time."""
    try:
        os.posix_fallocate(file.fileno(), 0, max(1, size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return size <= 1
    return True


def input_vanished(trial: Trial) -> None:
    """A file that the stage reads is gone from a random moment until the command has ended."""
    victim = trial.rng.choice(sorted(trial.workspace.project.glob(INPUTS[trial.stage])))
    trial.start()
    trial.wait_for_moment()
    with _moved_away(victim):
        trial.finish()


def output_read_only(trial: Trial) -> None:
    """A folder that the stage writes to cannot be written."""
    folders = sorted({path.parent for path in trial.outputs() if path.parent.is_dir()}) or [trial.workspace.project]
    folder = trial.rng.choice(folders)
    mount_read_only(folder)
    try:
        trial.start()
        trial.finish()
    finally:
        unmount(folder)


def database_locked(trial: Trial) -> None:
    """Another program keeps MLflow's database locked from a random moment on, for some seconds or to the end."""
    trial.start()
    trial.wait_for_moment()
    with closing(sqlite3.connect(trial.workspace.project / "mlflow.db", timeout=30, isolation_level=None)) as store:
        store.execute("BEGIN EXCLUSIVE")
        trial.wait(trial.rng.choice((LIMIT_S, trial.rng.uniform(1, 8))))
    trial.finish()


def database_gone(trial: Trial) -> None:
    """MLflow's database is away from a random moment until the command has ended."""
    trial.start()
    trial.wait_for_moment()
    with _moved_away(trial.workspace.project / "mlflow.db"):
        trial.finish()


def mlflow_restarted(trial: Trial) -> None:
    """The MLflow server is killed at a random moment and comes back; the command is repeated without a server."""
    with mlflow_server(trial.workspace) as server:
        trial.start(MLFLOW_TRACKING_URI=server.address)
        trial.find(trial.programs)
        trial.wait_for_moment()
        server.restart()
        trial.finish()


def prefect_restarted(trial: Trial) -> None:
    """The Prefect server of the fan-out is killed while videos are adapted to, and comes back."""
    with prefect_server(trial.workspace) as server:
        trial.start(PREFECT_API_URL=server.address)
        trial.find(trial.workers)
        server.restart()
        trial.finish()


def port_in_use(trial: Trial) -> None:
    """Another program takes the port of the fan-out's temporary Prefect server before that server can."""
    trial.start()
    server = trial.find(lambda: [each for each in trial.workspace.processes() if "--port" in each.cmdline()])
    words = server.cmdline()
    with socket.socket() as other:
        try:
            other.bind((HOST, int(words[words.index("--port") + 1])))
        except OSError:
            raise Missed from None
        other.listen()
        trial.finish()


@contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    away = path.with_name(f".away-{path.name}")
    if not path.exists():
        yield
        return
    path.rename(away)
    try:
        yield
    finally:
        away.replace(path)
