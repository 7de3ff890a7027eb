"""Whose files lie where DVC keeps outputs, in real DVC projects: the pipeline's own, foreign ones, changed ones."""

import os
import time
from pathlib import Path

import pytest
from projects import init_dvc, python

from amd.runtime.errors import UserError
from stages.owned import AT_WORK, at_work, require_owned
from stages.prepare import prepare
from stages.project import open_project

MAKE = "mkdir -p data/clips && echo a > data/clips/a && echo b > data/clips/b"
COUNT = "ls data/clips > models.txt"
MONTH_S = 30 * 86400
STAGES = f"""stages:
  make:
    cmd: {MAKE}
    params: [value]
    outs: [data/clips]
  count:
    cmd: {COUNT}
    deps: [data/clips]
    outs: [models.txt]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of two stages, which have run, as the current folder."""
    monkeypatch.chdir(tmp_path)
    init_dvc(STAGES)
    Path("params.yaml").write_text("value: 1\n")
    assert python("-m", "dvc", "repro").returncode == 0
    return tmp_path


def test_what_the_pipeline_made_is_its_own_and_all_else_is_refused_by_name(project: Path) -> None:
    assert prepare() == []
    Path("data/clips/holiday").mkdir()
    Path("data/clips/holiday/film.mp4").write_text("mine")
    Path("data/clips/link").symlink_to("/nowhere")
    Path("data/mine.txt").write_text("beside an output, where DVC does nothing")
    with pytest.raises(UserError, match=r"^data/clips/holiday/film.mp4, data/clips/link: not made by the pipeline"):
        prepare()
    refused = python("-m", "stages.prepare")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1

    cleaned = python("-m", "stages.clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert [line.partition(":")[0] for line in cleaned.stdout.splitlines()] == [
        "data/clips/holiday/film.mp4",
        "data/clips/link",
    ]
    left = {str(path) for path in Path().rglob("*") if not path.is_dir() and ".git/" not in f"{path}/"}
    assert {path for path in left if not path.startswith((".dvc", ".git"))} == {
        *("data/clips/holiday/film.mp4", "data/clips/link", "data/mine.txt", "dvc.yaml", "params.yaml"),
        *("data/.gitignore",),
    }


def test_a_file_that_was_changed_is_set_aside_and_made_anew(project: Path) -> None:
    Path("data/clips/a").write_text("mine")
    Path("models.txt").write_text("mine too")
    told = prepare()
    assert [line.partition(" ")[0] for line in told] == ["data/clips/a", "models.txt"]
    assert sorted(path.read_text() for path in Path("set-aside").rglob("*") if path.is_file()) == ["mine", "mine too"]
    assert python("-m", "dvc", "repro").returncode == 0
    assert (Path("data/clips/a").read_text(), prepare()) == ("a\n", [])


def test_outputs_of_another_commit_are_known_from_the_cache(project: Path) -> None:
    lock = Path("dvc.lock").read_text()
    Path("dvc.yaml").write_text(STAGES.replace("echo b > data/clips/b", "echo c > data/clips/c"))
    assert python("-m", "dvc", "repro").returncode == 0
    Path("dvc.yaml").write_text(STAGES)
    Path("dvc.lock").write_text(lock)  # as `git checkout` does; data/clips has c, which this lock does not list
    assert prepare() == []
    with at_work(MAKE, emptied=False):
        Path("data/clips/b").write_text("half")  # from now on no cache has the whole
    assert prepare() == []


def test_what_an_interrupted_stage_left_is_its_own_and_nothing_else(project: Path) -> None:
    with at_work(MAKE, emptied=True):
        Path("data/clips/half").write_text("by the stage")
    assert prepare() == []
    time.sleep(0.2)
    with at_work(COUNT, emptied=True):
        Path("data/clips/mine").write_text("while another stage was at work")
    with pytest.raises(UserError, match=r"^data/clips/mine: not made"):
        prepare()
    Path("data/clips/mine").unlink()
    with at_work(MAKE, emptied=True):  # begun anew: DVC has emptied the outputs, or so it says
        pass
    with pytest.raises(UserError, match=r"^data/clips/half: not made"):
        prepare()


def test_what_a_stage_wrote_stays_its_own_however_late_it_goes_on(project: Path) -> None:
    """DVC makes the files of outputs that persist writable before it begins the stage again."""
    with at_work(MAKE, emptied=False):
        Path("data/clips/half").write_text("by the stage")
    time.sleep(0.2)
    Path("data/clips/half").chmod(0o644)
    assert prepare() == []


def test_what_was_changed_after_an_interrupted_stage_is_set_aside(project: Path) -> None:
    with at_work(MAKE, emptied=True):
        Path("data/clips/half").write_text("by the stage")
    assert prepare() == []
    time.sleep(0.2)
    Path("data/clips/half").write_text("by somebody")
    assert [line.partition(" ")[0] for line in prepare()] == ["data/clips/half"]
    assert [path.read_text() for path in Path("set-aside").rglob("half")] == ["by somebody"]
    assert prepare() == []


@pytest.mark.parametrize("jump", [-MONTH_S, MONTH_S])
def test_what_a_stage_wrote_stays_its_own_when_the_clock_jumps(project: Path, jump: int) -> None:
    with at_work(MAKE, emptied=False):
        Path("data/clips/half").write_text("by the stage")
    for path in (*Path("data").rglob("*"), *AT_WORK.iterdir()):
        os.utime(path, (time.time(), path.stat().st_mtime + jump))
    with open_project() as repo:  # as a stage that goes on with its outputs
        require_owned(repo, MAKE)
    with at_work(MAKE, emptied=False):
        Path("data/clips/more").write_text("by the stage")
    assert prepare() == []
    time.sleep(0.2)
    Path("data/clips/mine").touch()
    os.utime("data/clips/mine", (time.time(), time.time() - MONTH_S / 2))
    with pytest.raises(UserError, match=r"^data/clips/mine: not made"):
        prepare()


def test_outputs_are_known_wherever_dvc_was_killed_amid_its_lock_file(project: Path) -> None:
    text = Path("dvc.lock").read_text()
    cuts = [cut for cut in range(len(text)) if text[cut - 1] == "\n" or text[cut : cut + 4] == "hash"]
    assert len(cuts) > 20
    for cut in cuts:
        Path("dvc.lock").write_text(text[:cut])
        told = prepare()
        assert all("half-written" in line for line in told), (text[:cut], told)
    assert Path("data/clips/a").read_text() == "a\n"


def test_a_project_without_git_is_refused_in_one_line(project: Path) -> None:
    Path(".git").rename("no-git")
    with pytest.raises(UserError, match=r"not a git repository \(a ZIP has none\).*git init"):
        prepare()


def test_a_copy_for_an_experiment_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = project / ".dvc/tmp/exps/standalone/tmpx"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match="would be thrown away: use `dvc exp run` without --temp and --queue"):
        prepare()
