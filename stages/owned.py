"""Whose files lie where DVC keeps a stage's outputs: the pipeline's own, or somebody else's.

DVC empties the outputs of a stage that it runs, and puts those of a stage that it skips back as they were; stages
that keep their outputs remove what is no longer wanted. A file there is the pipeline's own when dvc.lock lists it, when
DVC's cache has the whole output just so, or when it was written while its stage was at work, as an interrupted run
leaves it. Every other file is foreign: nothing starts before it is moved away. A file that dvc.lock lists and that was
changed since is set aside, so that the pipeline can make its own again.
"""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from amd.runtime.errors import UserError

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

AT_WORK = Path(".amd/dvc/at-work")  # two files per stage, of no content: their times are the beginning and the end
ASIDE = Path("set-aside")  # files of DVC's outputs that somebody changed
TOUCH_S = 1.0
CLOCK_S = 0.05  # the file system's clock is coarser than the process's
LATE_S = 10.0  # by which a killed stage's processes may outlive its last touch
NAMED = 5  # foreign files in a message


def require_owned(repo: "Repo", command: str | None = None) -> list[str]:
    """Look through the outputs of every stage, or of the one that runs `command`; a line per file set aside.

    Raises UserError that names the foreign files; then nothing was set aside.
    """
    foreign, changed = _look_through_all(repo, command)
    if foreign:
        raise UserError(_refusal(foreign))
    return [_set_aside(path) for path in changed]


def empty_persistent(repo: "Repo", command: str) -> None:
    """Remove the outputs that persist of the stage that runs `command`; `require_owned` has looked through them."""
    for out in (out for stage in repo.index.stages if stage.cmd == command for out in stage.outs if out.persist):
        if os.path.lexists(out.fs_path):
            out.remove()


def strangers(repo: "Repo") -> set[Path]:
    """The files where DVC keeps outputs that are somebody else's, or were changed."""
    foreign, changed = _look_through_all(repo, None)
    return {*foreign, *changed}


@contextmanager
def at_work(command: str, emptied: bool) -> Iterator[None]:
    """Let what is written during the body count as made by the stage that runs `command`, even if it is killed.

    Where DVC has not `emptied` the outputs, the time of interrupted runs before counts too.
    """
    (begin, end), ended = _records(command), threading.Event()
    begin.parent.mkdir(parents=True, exist_ok=True)
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


def _look_through_all(repo: "Repo", command: str | None) -> tuple[list[Path], list[Path]]:
    foreign: list[Path] = []
    changed: list[Path] = []
    for stage in (stage for stage in repo.index.stages if stage.cmd and command in (None, stage.cmd)):
        for out in (out for out in stage.outs if os.path.lexists(out.fs_path)):
            found = _look_through(out, _time_at_work(stage.cmd))
            foreign += found[0]
            changed += found[1]
        _forget_finished(stage)
    return foreign, changed


def _look_through(out: "Output", worked: tuple[float, float]) -> tuple[list[Path], list[Path]]:
    """The foreign files of an output, and those that were changed."""
    from dvc_data.hashfile.hash import file_md5

    root = Path(out.fs_path)
    whole = _hash(out)
    if whole is not None and (whole == out.hash_info or (out.use_cache and out.cache.exists(whole.value))):
        return [], []
    listed = _entries(out.get_obj()) if out.hash_info else {}
    foreign, changed = [], []
    for path in files_below(root):
        name = "" if path == root else path.relative_to(root).as_posix()
        same = name in listed and path.is_file() and listed[name] == file_md5(str(path), out.fs)
        if same or _written(path, worked):
            continue
        (changed if name in listed else foreign).append(path)
    return foreign, changed


def _written(path: Path, worked: tuple[float, float]) -> bool:
    """Whether a file was written between two times.

    DVC makes the outputs that persist writable whenever it begins their stage, which is a change of the file but not of
    what is in it; a clock that jumped or a copy may leave another time of writing.
    """
    found = path.lstat()
    return any(worked[0] <= time_s <= worked[1] for time_s in (found.st_mtime, found.st_ctime))


def _hash(out: "Output"):
    """DVC's hash of an output as it lies there; None for what DVC cannot read, such as a broken link."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.build import build

    try:
        _, _, found = build(out.cache, out.fs_path, out.fs, out.hash_name, dry_run=True, ignore=out.dvcignore)
    except (OSError, DvcException):
        return None
    return found.hash_info


def _entries(found) -> dict[str, str]:
    """Hash by name of a file's or a folder's object in DVC; a file by itself has the empty name."""
    from dvc_data.hashfile.tree import Tree

    if isinstance(found, Tree):
        return {"/".join(key): hash_info.value for key, (_, hash_info) in found.as_dict().items()}
    return {"": found.hash_info.value} if found is not None else {}


def _refusal(foreign: Iterable[Path]) -> str:
    names = sorted(os.path.relpath(path) for path in foreign)
    more = f" and {len(names) - NAMED} more" * (len(names) > NAMED)
    return (
        f"{', '.join(names[:NAMED])}{more}: not made by the pipeline, but where DVC removes files; move them away "
        "(videos to train on belong in the folder of data.videos) and run the same command again"
    )


def _set_aside(path: Path) -> str:
    name = Path(os.path.relpath(path))
    target = ASIDE / time.strftime("%Y%m%d-%H%M%S") / name
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    return f"{name} was changed since the pipeline made it; that file is now {target}, and the pipeline makes its own"


def _records(command: str) -> tuple[Path, Path]:
    name = hashlib.sha256(command.encode()).hexdigest()[:16]
    return AT_WORK / f"{name}.begin", AT_WORK / f"{name}.end"


def _time_at_work(command: str) -> tuple[float, float]:
    """From when to when a stage was at work since DVC last took its outputs over; an empty time if it was not."""
    begin, end = _records(command)
    try:
        return begin.stat().st_mtime - CLOCK_S, end.stat().st_mtime + LATE_S
    except OSError:
        return 0.0, -1.0


def _forget_finished(stage: "Stage") -> None:
    """Once dvc.lock lists a stage's outputs as they are, what is written from now on is not its own."""
    begin, end = _records(stage.cmd)
    if begin.exists() and all(_hash(out) == out.hash_info for out in stage.outs):
        for record in (end, begin):
            record.unlink(missing_ok=True)
