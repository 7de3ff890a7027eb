"""Whose files lie where DVC keeps a stage's outputs: the pipeline's own, or somebody else's.

DVC empties the outputs of a stage that it runs, and puts those of a stage that it skips back as they were; stages
that keep their outputs remove what is no longer wanted. A file there is the pipeline's own when dvc.lock lists it, when
DVC's cache has the whole output just so, or when it was written while its stage was at work, as an interrupted run
leaves it. What is found to be an unfinished stage's own is remembered with its hashes, and stays so whatever becomes of
times and of dvc.lock. Every other file is foreign: nothing starts before it is moved away. A file that dvc.lock lists
or that is remembered, and that was changed since, is set aside, so that the pipeline can make its own again.
"""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from amd.runtime.errors import UserError, system_errors
from amd.runtime.files import read_json, write_json

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

AT_WORK = Path(".amd/dvc/at-work")  # per stage two empty files, whose times say from when to when, and one of hashes
ASIDE = Path("set-aside")  # files of DVC's outputs that somebody changed
TOUCH_S = 1.0
CLOCK_S = 0.05  # the file system's clock is coarser than the process's
LATE_S = 10.0  # by which a killed stage's processes may outlive its last touch
NAMED = 5  # foreign files in a message


@dataclass
class Found:
    """The files where DVC keeps a stage's outputs, by whose they are."""

    own: dict[str, str] = field(default_factory=dict)  # DVC's hash by path
    changed: list[Path] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    finished: bool = True  # dvc.lock lists the outputs as they are


def require_owned(repo: "Repo", command: str | None = None) -> list[str]:
    """Look through the outputs of every stage, or of the one that runs `command`; a line per file set aside.

    Raises UserError that names the foreign files; then nothing was set aside.
    """
    began = time.time()
    found = _look_through_all(repo, command)
    if foreign := [path for each in found.values() for path in each.foreign]:
        raise UserError(_refusal(foreign))
    for stage, each in found.items():
        _remember(stage, each, began)
    return [_set_aside(path) for each in found.values() for path in each.changed]


def empty_persistent(repo: "Repo", command: str) -> None:
    """Remove the outputs that persist of the stage that runs `command`; `require_owned` has looked through them."""
    for out in (out for stage in repo.index.stages if stage.cmd == command for out in stage.outs if out.persist):
        if os.path.lexists(out.fs_path):
            out.remove()


def strangers(repo: "Repo") -> set[Path]:
    """The files where DVC keeps outputs that are somebody else's, or were changed."""
    return {path for each in _look_through_all(repo, None).values() for path in (*each.foreign, *each.changed)}


@contextmanager
def at_work(command: str, emptied: bool) -> Iterator[None]:
    """Let what is written during the body count as made by the stage that runs `command`, even if it is killed.

    Where DVC has not `emptied` the outputs, what `require_owned` found there stays the stage's own.
    """
    (begin, end, known), ended = _records(command), threading.Event()
    begin.parent.mkdir(parents=True, exist_ok=True)
    if emptied:
        known.unlink(missing_ok=True)
    if emptied or not begin.exists():
        begin.touch()
    end.touch()

    def touch() -> None:
        while not ended.wait(TOUCH_S):
            end.touch()

    thread = threading.Thread(target=touch, name="at-work", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        now = time.time()
        os.utime(end, (now, now + CLOCK_S - LATE_S))  # it ended by itself: nothing of it is late


def this_command() -> str:
    """The command line of this program, as dvc.yaml says it."""
    module = sys.modules["__main__"].__spec__
    return " ".join(["python -m", module.name if module else "", *sys.argv[1:]])


def files_below(path: Path) -> Iterator[Path]:
    """A file, or the files and links in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
    else:
        for folder, folders, names in os.walk(path):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            yield from (Path(folder, name) for name in sorted([*names, *links]))


def _look_through_all(repo: "Repo", command: str | None) -> dict[str, Found]:
    """What lies in the outputs of every stage, or of the one that runs `command`; by the stages' commands."""
    found: dict[str, Found] = {}
    for stage in (stage for stage in repo.index.stages if stage.cmd and command in (None, stage.cmd)):
        each, worked, known = found.setdefault(stage.cmd, Found()), _time_at_work(stage.cmd), _remembered(stage.cmd)
        for out in stage.outs:
            _look_through(out, worked, known, each)
    return found


def _look_through(out: "Output", worked: tuple[float, float], known: dict[str, str], found: Found) -> None:
    """Add the files of an output to `found`; `known` has the hashes of those that were the stage's own before."""
    if not out.hash_info:  # DVC may have been killed amid writing its entry, and then takes it for one of DVC 2
        out.update_legacy_hash_name(force=True)
    there = _object(out)
    as_listed = there is not None and there.hash_info == out.hash_info
    found.finished &= as_listed
    if not os.path.lexists(out.fs_path):
        return
    hashes = _entries(out, there)
    if as_listed or (there is not None and out.use_cache and out.cache.exists(there.hash_info.value)):
        found.own |= hashes
        return
    listed = _entries(out, out.get_obj()) if out.hash_info else {}
    for path in files_below(Path(out.fs_path)):
        name = _name(path)
        value = hashes.get(name) or _hash(path, out)
        if (value and value in (listed.get(name), known.get(name))) or _written(path, worked):
            found.own[name] = value
        else:
            (found.changed if name in listed or name in known else found.foreign).append(path)


def _written(path: Path, worked: tuple[float, float]) -> bool:
    """Whether a file was written between two times.

    DVC makes the outputs that persist writable whenever it begins their stage, which is a change of the file but not of
    what is in it; a clock that jumped or a copy may leave another time of writing.
    """
    found = path.lstat()
    return any(worked[0] <= time_s <= worked[1] for time_s in (found.st_mtime, found.st_ctime))


def _object(out: "Output"):
    """An output as it lies there, as DVC sees it; None for none, and what DVC cannot read, such as a broken link."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.build import build

    try:
        _, _, found = build(out.cache, out.fs_path, out.fs, out.hash_name, dry_run=True, ignore=out.dvcignore)
    except (OSError, DvcException):
        return None
    return found


def _hash(path: Path, out: "Output") -> str:
    """DVC's hash of a file; empty for a broken link."""
    from dvc_data.hashfile.hash import file_md5

    return file_md5(str(path), out.fs) if path.is_file() else ""


def _entries(out: "Output", found) -> dict[str, str]:
    """Hash by path of the files of an output, of which DVC has the object `found` or none."""
    from dvc_data.hashfile.tree import Tree

    if isinstance(found, Tree):
        return {_name(Path(out.fs_path, *key)): hash_info.value for key, (_, hash_info) in found.as_dict().items()}
    return {_name(Path(out.fs_path)): found.hash_info.value} if found is not None else {}


def _refusal(foreign: Iterable[Path]) -> str:
    names = sorted(map(_name, foreign))
    more = f" and {len(names) - NAMED} more" * (len(names) > NAMED)
    return (
        f"{', '.join(names[:NAMED])}{more}: not made by the pipeline, but where DVC removes files; move them away "
        "(videos to train on belong in the folder of data.videos) and run the same command again"
    )


def _set_aside(path: Path) -> str:
    name = Path(_name(path))
    target = ASIDE / time.strftime("%Y%m%d-%H%M%S") / name
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    return f"{name} was changed since the pipeline made it; that file is now {target}, and the pipeline makes its own"


def _name(path: Path) -> str:
    return os.path.relpath(path)


def _records(command: str) -> tuple[Path, Path, Path]:
    name = hashlib.sha256(command.encode()).hexdigest()[:16]
    return AT_WORK / f"{name}.begin", AT_WORK / f"{name}.end", AT_WORK / f"{name}.json"


def _time_at_work(command: str) -> tuple[float, float]:
    """From when to when a stage was at work since the last look through its outputs; an empty time if it was not."""
    begin, end, _ = _records(command)
    try:
        return begin.stat().st_mtime - CLOCK_S, end.stat().st_mtime + LATE_S
    except OSError:
        return 0.0, -1.0


def _remembered(command: str) -> dict[str, str]:
    *_, known = _records(command)
    return read_json(known) if known.exists() else {}


def _remember(command: str, found: Found, began: float) -> None:
    """Keep the hashes of what an unfinished stage has, in the place of its time at work before `began`.

    Once dvc.lock lists a stage's outputs as they are, what is written from now on is not its own.
    """
    begin, end, known = _records(command)
    if found.finished or not found.own:
        known.unlink(missing_ok=True)
    else:
        with system_errors():
            known.parent.mkdir(parents=True, exist_ok=True)
            write_json(known, found.own)
    if found.finished:
        end.unlink(missing_ok=True)
        begin.unlink(missing_ok=True)
    elif begin.exists() and end.exists():
        os.utime(begin, (began, began))
        os.utime(end, (began, min(began, end.stat().st_mtime)))  # a clock that was put back leaves later times
