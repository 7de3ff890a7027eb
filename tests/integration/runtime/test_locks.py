"""Locks between processes: one at a time, free when the holder is killed; and what killed writers leave."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from adapt_project import REPOSITORY
from waiting import wait_for

from amd.runtime.errors import UserError
from amd.runtime.files import atomic_folder, atomic_path, file_lock, remove_half_written, run_lock

HOLDER = """
import sys, time
from pathlib import Path
from amd.runtime.files import atomic_folder, atomic_path, file_lock
with file_lock("a/lock"), atomic_path("file") as file, atomic_folder("folder") as folder:
    file.write_text("half")
    (folder / "part").write_text("half")
    Path("ready").touch()
    time.sleep(300)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def holder() -> Iterator[subprocess.Popen]:
    """A process that holds the lock and writes a file and a folder."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER], env=environment)
    try:
        wait_for(Path("ready").exists, 60)
        yield process
    finally:
        process.kill()
        process.wait()


def half_written() -> list[Path]:
    return sorted(Path().glob(".*.part"))


def test_a_lock_is_one_processs_until_it_is_killed() -> None:
    with holder() as process:
        message = r"shard: another run is at work on it \(lock a/lock\); wait"
        with pytest.raises(UserError, match=message), run_lock("a/lock", "shard"):
            raise AssertionError("two at once")
        process.send_signal(signal.SIGKILL)
        with file_lock("a/lock"):  # waits, which ends with the process
            assert process.wait(60) == -signal.SIGKILL
    with run_lock("a/lock", "shard"):
        assert Path("a/lock").exists()


def test_what_killed_writers_left_is_removed_and_what_live_ones_write_is_kept() -> None:
    with holder() as process:
        file, folder = half_written()
        remove_half_written(Path())
        assert half_written() == [file, folder]
        assert (folder / "part").read_text() == file.read_text() == "half"
        process.kill()
        process.wait()
        remove_half_written(Path())
        assert half_written() == []
    assert not Path("file").exists()
    assert not Path("folder").exists()


def test_a_body_that_fails_gives_its_lock_back_and_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), run_lock("lock", "shard"), atomic_path("file") as part:
        part.write_text(str(1 / 0))
    with run_lock("lock", "shard"), atomic_folder("file") as part:
        (part / "inside").touch()
    assert [path.name for path in Path("file").iterdir()] == ["inside"]
    assert half_written() == []
