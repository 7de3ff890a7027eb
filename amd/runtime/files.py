"""Files that are whole or absent: write beside, fsync, rename; hashes and locks."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout, lock_descriptor

from amd.runtime.errors import UserError

READ_SIZE = 1 << 20
LOCK_POLL_S = 0.01  # between tries of one that waits
HALF_WRITTEN = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # as tempfile names them


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed onto `path`.

    On any failure the temporary file is removed and `path` keeps its old content. A full disk is
    reported as a UserError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with _claimed(handle):
            yield part
            part.chmod(0o644)  # mkstemp makes private files
            _fsync(part)
            part.replace(path)
    except Exception as error:
        raise_if_disk_full(error, path)
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`.

    UserError when a file in `path` has no successor of its name, which would be lost: it is somebody else's.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    part.chmod(0o755)
    try:
        with _claimed(os.open(part, os.O_RDONLY)):
            yield part
            if path.exists():
                _require_successors(path, part)
                shutil.rmtree(path)
            part.replace(path)
    except OSError as error:
        raise_if_disk_full(error, path)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _require_successors(old: Path, new: Path) -> None:
    lost = sorted(path for path in old.rglob("*") if not path.is_dir() and not (new / path.relative_to(old)).exists())
    if lost:
        more = f" and {len(lost) - 1} more" * (len(lost) > 1)
        raise UserError(f"{lost[0]}{more}: would be lost, as {old} is made anew; move away what is yours, remove {old}")


def remove_half_written(folder: Path) -> None:
    """Remove from a folder what killed writers left of `atomic_path` and `atomic_folder`; live ones keep theirs."""
    for part in filter(lambda path: HALF_WRITTEN.fullmatch(path.name), folder.glob(".*.part")):
        with suppress(OSError), _claimed(os.open(part, os.O_RDONLY)):  # BlockingIOError: somebody writes it
            shutil.rmtree(part) if part.is_dir() else part.unlink()


@contextmanager
def _claimed(handle: int) -> Iterator[None]:
    """Hold an open file or folder's lock, as a sign that its writer lives; closes it. OSError when another does."""
    try:
        if not lock_descriptor(handle, blocking=False):
            raise BlockingIOError
        yield
    finally:
        os.close(handle)


def raise_if_disk_full(error: Exception, path: Path) -> None:
    """Turn "no space left on device" into a UserError that names `path`."""
    if _errno(error) in (errno.ENOSPC, errno.EDQUOT):
        raise UserError(f"{path}: no space left on the disk; free some and run the same command again") from error


def _errno(error: Exception) -> int | None:
    """The system's number of an error; libraries in Rust, such as safetensors, have it in their text alone."""
    said = re.search(r"\(os error (\d+)\)", str(error))
    return error.errno if isinstance(error, OSError) else int(said[1]) if said else None


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 `text` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON atomically; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; UserError when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None


def sha256(path: Path | str) -> str:
    """Hex SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(READ_SIZE):
            digest.update(piece)
    return digest.hexdigest()


def file_lock(path: Path | str) -> FileLock:
    """An exclusive lock of processes on the file `path`, which stays; `with` waits for it.

    The kernel drops the lock with its process, so a killed one leaves nothing to clean up. It holds between machines
    where the file system's `flock` does, and is refused (OSError) where there is none.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, poll_interval=LOCK_POLL_S, fallback_to_soft=False)


@contextmanager
def run_lock(path: Path | str, what: str) -> Iterator[None]:
    """Hold a `file_lock` for one run; UserError at once when another process has it."""
    lock = file_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"{what}: another run is at work on it (lock {path}); wait for it to end") from None
    try:
        yield
    finally:
        lock.release()
