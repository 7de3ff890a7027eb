"""A folder that strangers drop videos into, and how each becomes a job that one run alone works on.

    INBOX/clip.mp4                  dropped; taken once it has not changed for a while; hidden names are left alone
    INBOX/working/JOB/              a job in the making, locked by the run that works on it
    INBOX/done/JOB/                 the video and what was made of it
    INBOX/failed/JOB/               the video and reason.txt

Claiming is a rename into the job's folder, which is ours alone to write: two runs cannot both take a file, and what
was checked cannot be exchanged. (Whoever still holds the file open can write to it: hence limits of memory and time
for what decodes it.) A job's lock is the kernel's, held by the run and the programs it starts: it falls when the last
of them ends, however it ends, and the next run goes on with what it finds in `working`.
"""

import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from filelock import lock_descriptor

from amd.data.video.sources import video_id
from amd.runtime.errors import UserError
from amd.runtime.files import file_lock, read_json, write_json, write_text

WORKING, DONE, FAILED = "working", "done", "failed"
CLAIM, REASON, RESULTS, SHEET = OURS = ("claim.json", "reason.txt", "results", "contact_sheet.png")  # in a job's folder
UNPLAIN = "video"  # what a file is called whose own name had better not be used
AT_ONCE = 256  # jobs of a run: each lock is an open file, of which a process may have 1024; the next run takes more


@dataclass(frozen=True)
class Job:
    """One dropped thing that this process has locked."""

    folder: Path
    name: str  # as it was dropped
    file: Path
    key: str  # of this drop: the same file dropped again has another
    lock: int  # file descriptor, for programs to inherit

    @property
    def id(self) -> str:
        """Readable, of A-Za-z0-9_- alone."""
        return self.folder.name


@contextmanager
def open_jobs(inbox: Path, settle_s: float) -> Iterator[list[Job]]:
    """Jobs that are there to be done and that no other run works on: first those once begun, then new ones.

    They stay locked for the body. Raises UserError when the folder or its parts are not real folders, or when somebody
    else made the parts.
    """
    _make_folder(inbox)
    for name in (WORKING, DONE, FAILED):
        _make_folder(inbox / name)
        _require_own(inbox / name)
    with ExitStack() as locks:
        with file_lock(inbox / WORKING / ".lock"):  # no other run sees a job between its claim and its lock
            begun = (_resume(folder, locks) for folder in _folders(inbox / WORKING))
            new = (_claim(inbox, path, locks) for path in _settled(inbox, settle_s))
            jobs = list(islice(filter(None, chain(begun, new)), AT_ONCE))
        yield jobs


def finish(job: Job, reason: str | None = None) -> Path:
    """Move a job to `done`, or to `failed` with the reason in a text file; gives its new folder."""
    inbox = job.folder.parent.parent
    if reason is not None:
        write_text(job.folder / REASON, f"{job.name!r}: {reason}\n")
    target = inbox / (DONE if reason is None else FAILED) / job.id
    job.folder.chmod(0o755)  # private while it was worked on
    job.folder.rename(target)
    return target


def _make_folder(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise UserError(f"{folder}: a link or a file where the inbox needs a folder of its own; remove it")


def _require_own(folder: Path) -> None:
    """What lies in the parts is believed: a claim says which file to read."""
    if folder.stat().st_uid != os.geteuid():
        raise UserError(f"{folder}: another user's folder where the inbox needs one of its own; remove it")


def _settled(inbox: Path, settle_s: float) -> list[Path]:
    """What was dropped and is no longer being written, oldest first.

    The time of the inode's last change is the kernel's, which a copying program cannot set back. A clock that was
    set back makes it a time to come; such a file is taken to be old.
    """
    now, found = time.time(), []
    with os.scandir(inbox) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in (WORKING, DONE, FAILED):
                continue
            with suppress(FileNotFoundError):  # taken away again
                changed = entry.stat(follow_symlinks=False).st_ctime
                if abs(now - changed) >= settle_s:
                    found.append((changed, Path(entry.path)))
    return [path for _, path in sorted(found)]


def _claim(inbox: Path, path: Path, locks: ExitStack) -> Job | None:
    """Take something out of the inbox; None when it is gone."""
    folder = _new_folder(inbox, video_id(path.name))
    lock = _lock(folder, locks)
    plain = path.name.isprintable() and "\\" not in path.name and path.name.casefold() not in OURS
    name = path.name if plain else UNPLAIN
    job = Job(folder, path.name, folder / name, uuid.uuid4().hex, lock)
    shown = path.name.encode(errors="backslashreplace").decode()
    write_json(folder / CLAIM, {"name": shown, "file": name, "key": job.key, "time": time.time()})
    try:
        path.rename(job.file)
    except FileNotFoundError:
        _remove(folder)
        return None
    return job


def _resume(folder: Path, locks: ExitStack) -> Job | None:
    """A job that a run began and did not end; None when a run works on it still, or when it never held anything."""
    lock = _lock(folder, locks)
    if lock is None:
        return None
    try:
        claim = read_json(folder / CLAIM)
    except UserError:  # ended before anything was moved
        _remove(folder)
        return None
    job = Job(folder, claim["name"], folder / claim["file"], claim["key"], lock)
    if not os.path.lexists(job.file):
        _remove(folder)
        return None
    return job


def _new_folder(inbox: Path, wanted: str) -> Path:
    """A new folder in `working` whose name neither `done` nor `failed` has."""
    for number in range(1, 1_000_000):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if not any(os.path.lexists(inbox / place / name) for place in (WORKING, DONE, FAILED)):
            (inbox / WORKING / name).mkdir(mode=0o700)
            return inbox / WORKING / name
    raise UserError(f"{inbox}: too many files of one name were dropped; empty {DONE} and {FAILED}")


def _lock(folder: Path, locks: ExitStack) -> int | None:
    """Lock a job's folder; None when another process has it, or has just moved it on."""
    with suppress(FileNotFoundError), ExitStack() as stack:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, handle)
        if not lock_descriptor(handle, blocking=False):
            return None
        folder.stat()  # what was finished between the two lines above is not there
        locks.push(stack.pop_all())
        return handle
    return None


def _remove(folder: Path) -> None:
    (folder / CLAIM).unlink(missing_ok=True)
    folder.rmdir()


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
