"""What a DVC that dies amid writing its own files leaves, and that stages.lock_files makes it go on. Real DVC."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from projects import init_dvc, python

from stages.lock_files import keep_lock_files, lock_files, mend
from stages.project import open_project

STAGES = """stages:
  first:
    cmd: echo 1 > first.txt
    outs: [first.txt]
  last:
    cmd: cat first.txt > last.txt
    deps: [first.txt]
    outs: [last.txt]
"""
DYING = """
import os, signal, sys
from dvc.cli import main
def write(data, file, **options):
    if not file.name.endswith(("dvc.lock", "rwlock")):
        return whole(data, file, **options)
    file.write(text)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
text, whole = sys.argv.pop(1), {patch}
{patch} = write
sys.exit(main(["repro", "-q"]))
"""  # DVC itself, killed at the moment when it has written `text` of a file
REGISTER = "import dvc.rwlock; dvc.rwlock.json.dump"
LOCK_FILE = "import dvc.utils.serialize._yaml; dvc.utils.serialize._yaml._dump"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of two stages as the current folder, its first one done."""
    monkeypatch.chdir(tmp_path)
    init_dvc(STAGES)
    assert repro("first").returncode == 0
    return tmp_path


def mended() -> list[str]:
    with open_project() as repo:
        return mend(repo)


def repro(*targets: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "dvc", "repro", *targets)


def kill_amid(patch: str, text: str) -> None:
    imports, name = patch.split("; ")
    killed = python("-c", f"{imports}\n{DYING.format(patch=name)}", text)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.parametrize("text", ["", '{"write": {"/a": {"pi', "[]"])
def test_torn_register_is_removed(project: Path, text: str) -> None:
    kill_amid(REGISTER, text)
    refused = repro()
    assert refused.returncode == 255
    assert "RWLock-file" in refused.stderr
    done = python("-m", "stages.prepare")
    assert (done.returncode, done.stdout) == (0, ".dvc/tmp/rwlock was half-written; removed\n")
    assert repro().returncode == 0
    assert Path("last.txt").read_text() == "1\n"


@pytest.mark.parametrize("text", ["", "sche", "schema: '2.0'\nstages:\n  first:\n    cmd: echo 1 > first.txt\n    ou"])
def test_torn_lock_file_is_as_before_the_last_stage(project: Path, text: str) -> None:
    keep_lock_files()
    before = Path("dvc.lock").read_bytes()
    kill_amid(LOCK_FILE, text)
    assert repro().returncode == 255
    assert mended() == ["dvc.lock was half-written; it is now as it was when the last stage began"]
    assert Path("dvc.lock").read_bytes() == before
    assert Path(".amd/dvc/dvc.torn").read_text() == text
    again = repro()
    assert again.returncode == 0
    assert "'first' didn't change" in again.stdout


def test_torn_lock_file_that_dvc_would_accept_is_mended_too(project: Path) -> None:
    keep_lock_files()
    before = Path("dvc.lock").read_text()
    cut = before.index("md5: ") + 9  # of 37
    Path("dvc.lock").write_text(before[:cut])
    assert mended() == ["dvc.lock was half-written; it is now as it was when the last stage began"]
    assert Path("dvc.lock").read_text() == before


def test_torn_lock_file_without_a_whole_copy_is_set_aside(project: Path) -> None:
    keep_lock_files()
    Path(".amd/dvc/dvc.lock").write_text("sche")
    kill_amid(LOCK_FILE, "sche")
    assert mended() == ["dvc.lock was half-written; it is now .amd/dvc/dvc.torn, and DVC looks at every stage again"]
    assert repro().returncode == 0
    assert Path("last.txt").read_text() == "1\n"


def test_copies_that_were_killed_amid_writing_are_removed(project: Path) -> None:
    half = [Path(".amd/dvc/.dvc.lock.abcdefgh.part"), Path(".dvc.lock.abcdefgh.part")]
    half[0].parent.mkdir(parents=True)
    for path in half:
        path.touch()
    keep_lock_files()
    assert [path.name for path in half[0].parent.iterdir()] == ["dvc.lock"]
    assert not half[1].exists()


def test_every_pipeline_is_mended(project: Path) -> None:
    Path("pipelines/sweep").mkdir(parents=True)
    shutil.copy("dvc.lock", "pipelines/sweep")
    keep_lock_files()
    Path("pipelines/sweep/dvc.lock").write_text("stages: {")
    assert lock_files() == [Path("pipelines/sweep/dvc.lock"), Path("dvc.lock")]
    assert mended() == ["pipelines/sweep/dvc.lock was half-written; it is now as it was when the last stage began"]
    assert Path("pipelines/sweep/dvc.lock").read_bytes() == Path("dvc.lock").read_bytes()


def test_what_dvc_accepts_is_not_touched(project: Path) -> None:
    assert repro().returncode == 0
    files = [Path("dvc.lock"), Path(".dvc/tmp/rwlock")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    assert mended() == []
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_nothing_is_touched_while_dvc_is_at_work(project: Path) -> None:
    Path("dvc.lock").write_text("sche")
    with Repo().lock:
        assert mended() == []
    assert Path("dvc.lock").read_text() == "sche"
    assert len(mended()) == 1
