"""The files that DVC keeps its state in, and mending those that it was killed amid writing.

DVC writes its dvc.lock files and its register of readers and writers in place. A kill in these milliseconds leaves a
torn file, which every later `dvc` command refuses, or takes for one that lists less. Both are read here as DVC reads
them, under DVC's own locks: a whole file that DVC accepts is not touched, nor is any while another DVC holds the lock.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from amd.runtime.files import remove_half_written, write_bytes

if TYPE_CHECKING:
    from dvc.repo import Repo

KEPT = Path(".amd/dvc")  # dvc.lock files as they were when the last stage began, and torn ones


def lock_files() -> list[Path]:
    """The dvc.lock of every pipeline of the project; the main one is the last."""
    return [*sorted(Path().glob("pipelines/*/dvc.lock")), *Path().glob("dvc.lock")]


def keep_lock_files() -> None:
    """Keep copies of the dvc.lock files, for `mend`; called while DVC waits for a stage, so they are whole."""
    remove_half_written(KEPT)
    for lock in lock_files():
        remove_half_written(lock.parent)
        write_bytes(_kept(lock), lock.read_bytes())


def mend(repo: "Repo") -> list[str]:
    """Mend what is torn in the project `repo`, the current folder; a line per file, which says what was done.

    A dvc.lock becomes what it was when the last stage began; without such a copy it is set aside, and DVC looks at
    every stage again. The register is removed: whoever it named is dead, or found it torn as well.
    """
    from dvc.lock import LockError  # here: DVC takes a while to import, and every stage imports this module

    lines: list[str] = []
    with suppress(LockError):
        with repo.lock:
            lines += [_mend_lock_file(lock) for lock in lock_files() if not _is_whole_lock_file(lock)]
        lines += _mend_register(Path(repo.tmp_dir), repo.config["core"].get("hardlink_lock", False))
    return lines


def _kept(lock: Path) -> Path:
    return KEPT / "-".join(lock.parts)


def _mend_lock_file(lock: Path) -> str:
    kept = _kept(lock)
    torn = kept.with_suffix(".torn")
    write_bytes(torn, lock.read_bytes())
    if kept.exists() and _is_whole_lock_file(kept):
        write_bytes(lock, kept.read_bytes())
        return f"{lock} was half-written; it is now as it was when the last stage began"
    lock.unlink()
    return f"{lock} was half-written; it is now {torn}, and DVC looks at every stage again"


def _is_whole_lock_file(lock: Path) -> bool:
    """Whether DVC accepts a dvc.lock and wrote it to its end, which is that of a line."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import ParseError, parse_yaml
    from voluptuous import Invalid

    try:
        text = lock.read_text()
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, str(lock)))
    except (ParseError, Invalid, UnicodeDecodeError):
        return False
    return text.endswith("\n")


def _mend_register(folder: Path, hardlink: bool) -> list[str]:
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK, SCHEMA
    from voluptuous import Invalid

    register = folder / RWLOCK_FILE
    with make_lock(str(folder / RWLOCK_LOCK), tmp_dir=str(folder), hardlink_lock=hardlink):
        try:
            SCHEMA(json.loads(register.read_text()))
        except FileNotFoundError:
            return []
        except (ValueError, Invalid):  # of JSON and of UTF-8 are both the first
            register.unlink()
            return [f"{register.relative_to(Path.cwd())} was half-written; removed"]
    return []
