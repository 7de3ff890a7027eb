"""The inbox folder: who takes what, once, and what an interrupted run leaves for the next."""

import json
import multiprocessing
import os
import stat
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from waiting import wait_for

from amd.runtime.errors import UserError
from flows.inbox.folder import AT_ONCE, Job, finish, open_jobs

SETTLED = 0.0


def drop(inbox: Path, *names: str | bytes) -> None:
    inbox.mkdir(exist_ok=True)
    for name in names:
        (inbox / os.fsdecode(name)).write_bytes(b"content of " + os.fsencode(name))


def names(jobs: list[Job]) -> list[str]:
    return sorted(job.name for job in jobs)


def take(inbox: Path, start: float, pipe: Connection) -> None:
    """A run that takes what it gets as long as there is something, with a moment's work on each."""
    time.sleep(max(0.0, start - time.monotonic()))
    taken = []
    while any(path.is_file() for path in inbox.iterdir()):
        with open_jobs(inbox, SETTLED) as jobs:
            for job in jobs:
                taken.append(job.file.read_text())
                finish(job)
    pipe.send(taken)


def begin(inbox: Path, pipe: Connection) -> None:
    """A run that holds its jobs until it is killed."""
    with open_jobs(inbox, SETTLED) as jobs:
        pipe.send(names(jobs))
        time.sleep(300)


def test_job_is_done_or_failed_with_what_was_dropped(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    drop(inbox, "Über uns.mp4", "bad.mp4", ".hidden.mp4")
    with open_jobs(inbox, SETTLED) as jobs:
        assert names(jobs) == ["bad.mp4", "Über uns.mp4"]
        bad, good = sorted(jobs, key=lambda job: job.name)
        assert stat.S_IMODE(good.folder.stat().st_mode) == 0o700
        assert good.folder.parent == inbox / "working"
        finish(good)
        finish(bad, "no frames")
    assert {path.name for path in inbox.iterdir()} == {".hidden.mp4", "working", "done", "failed"}
    (done,), (failed,) = (inbox / "done").iterdir(), (inbox / "failed").iterdir()
    assert done.name.startswith("Uber_uns_mp4-")
    assert (done / "Über uns.mp4").read_text() == "content of Über uns.mp4"
    assert (failed / "reason.txt").read_text() == "'bad.mp4': no frames\n"
    assert stat.S_IMODE(done.stat().st_mode) == 0o755
    with open_jobs(inbox, SETTLED) as jobs:
        assert jobs == []


def test_same_name_twice_is_two_jobs(tmp_path: Path) -> None:
    inbox, keys = tmp_path / "inbox", set()
    for _ in range(3):
        drop(inbox, "clip.mp4")
        with open_jobs(inbox, SETTLED) as (job,):
            keys.add(job.key)
            finish(job)
    assert len(keys) == 3
    first, second, third = sorted(path.name for path in (inbox / "done").iterdir())
    assert (second, third) == (f"{first}-2", f"{first}-3")


def test_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    drop(inbox, "growing.mp4", "copied.mp4")
    os.utime(inbox / "copied.mp4", (0, 0))  # a copy that keeps the original's times is as new as any
    with open_jobs(inbox, 2.0) as jobs:
        assert jobs == []
    wait_for(lambda: time.time() - (inbox / "copied.mp4").stat().st_ctime > 2.0, 10)
    with (inbox / "growing.mp4").open("ab") as file:
        file.write(b"more")
    with open_jobs(inbox, 2.0) as jobs:
        assert names(jobs) == ["copied.mp4"]
    assert (inbox / "growing.mp4").exists()


def test_two_runs_at_once_take_every_file_once(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    wanted = [f"clip-{number:03d}.mp4" for number in range(120)]
    drop(inbox, *wanted)
    context, start = multiprocessing.get_context("spawn"), time.monotonic() + 1.0
    pipes, runs = [], []
    for _ in range(3):
        ours, theirs = context.Pipe()
        pipes.append(ours)
        runs.append(context.Process(target=take, args=(inbox, start, theirs)))
        runs[-1].start()
    taken = [pipe.recv() for pipe in pipes if pipe.poll(60)]
    for run in runs:
        run.join(30)
        assert run.exitcode == 0
    assert sorted(text for each in taken for text in each) == [f"content of {name}" for name in wanted]
    assert len(list((inbox / "done").iterdir())) == len(wanted)
    assert [path.name for path in (inbox / "working").iterdir()] == [".lock"]


def test_killed_run_leaves_its_jobs_to_the_next(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    drop(inbox, "begun.mp4")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    run = context.Process(target=begin, args=(inbox, theirs))
    run.start()
    assert ours.poll(60)
    assert ours.recv() == ["begun.mp4"]
    drop(inbox, "later.mp4")
    with open_jobs(inbox, SETTLED) as jobs:
        assert names(jobs) == ["later.mp4"]  # the other one is being worked on
        finish(jobs[0])
    run.kill()
    run.join()
    with open_jobs(inbox, SETTLED) as (job,):
        assert (job.name, job.file.read_text()) == ("begun.mp4", "content of begun.mp4")
        key = job.key
    with open_jobs(inbox, SETTLED) as (job,):
        assert job.key == key  # the same drop, so that it is tracked once


@pytest.mark.parametrize("state", ["no claim", "half a claim", "claim alone"])
def test_run_killed_while_it_claimed_left_nothing_to_do(tmp_path: Path, state: str) -> None:
    inbox = tmp_path / "inbox"
    folder = inbox / "working/clip_mp4-0"
    folder.mkdir(parents=True)
    if state == "half a claim":
        (folder / "claim.json").write_text('{"name": ')
    elif state == "claim alone":
        (folder / "claim.json").write_text(json.dumps({"name": "clip.mp4", "file": "clip.mp4", "key": "0"}))
    drop(inbox, "clip.mp4")
    with open_jobs(inbox, SETTLED) as jobs:
        assert names(jobs) == ["clip.mp4"]
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", [b"new\nline.mp4", b"a\\b.mp4", b"\xff\xfe.mp4", b"\x1b[2J.mp4", b"claim.json", b"RESULTS"]
)
def test_name_that_is_no_name_for_a_file_of_ours(tmp_path: Path, name: bytes) -> None:
    """Also of a run that takes it over: what it holds is what was dropped, and the claim is our own."""
    inbox = tmp_path / "inbox"
    drop(inbox, name)
    for _ in range(2):
        with open_jobs(inbox, SETTLED) as (job,):
            assert job.file == job.folder / "video"
            assert job.file.read_bytes() == b"content of " + name
            assert job.id.isascii()
    with open_jobs(inbox, SETTLED) as (job,):
        finish(job, "refused")
    (failed,) = (inbox / "failed").iterdir()
    assert (failed / "reason.txt").read_text().endswith(": refused\n")


def test_claim_that_a_stranger_dropped_is_not_believed(tmp_path: Path) -> None:
    inbox, secret = tmp_path / "inbox", tmp_path / "secret.mp4"
    secret.write_text("secret")
    inbox.mkdir()
    claim = {"name": "clip.mp4", "file": "../../../secret.mp4", "key": "0"}
    (inbox / "claim.json").write_text(json.dumps(claim))
    for _ in range(2):
        with open_jobs(inbox, SETTLED) as (job,):
            assert json.loads(job.file.read_text()) == claim
            assert job.file.resolve().parent == job.folder.resolve()


@pytest.mark.parametrize("part", [".", "working", "done", "failed"])
def test_part_that_is_a_link_is_refused(tmp_path: Path, part: str) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if part == ".":
        inbox.symlink_to(elsewhere)
    else:
        drop(inbox, "clip.mp4")
        (inbox / part).symlink_to(elsewhere)
    with pytest.raises(UserError, match="a link or a file where the inbox needs a folder"), open_jobs(inbox, SETTLED):
        pass
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_part_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inbox/working").mkdir(parents=True)
    os.chown(tmp_path / "inbox/working", 65534, 65534)
    with pytest.raises(UserError, match="working: another user's folder"), open_jobs(tmp_path / "inbox", SETTLED):
        pass


def test_more_files_than_a_process_may_open(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    drop(inbox, *(f"{number}.mp4" for number in range(AT_ONCE + 3)))
    found = []
    for _ in range(2):
        with open_jobs(inbox, SETTLED) as jobs:
            found.append(len(jobs))
            for job in jobs:
                finish(job)
    assert found == [AT_ONCE, 3]
