"""Faults that change what lies on the disk: outputs, DVC's cache and own files, half of a file, all dates."""

import os
import shutil
from pathlib import Path

from faults.ends import all_killed
from faults.mounts import time_namespace
from faults.trial import Trial

MONTH_S = 30 * 86400
DVC_FILES = ("dvc.lock", ".dvc/tmp/rwlock")


def clock_jumped(trial: Trial) -> None:
    """Killed, and then the clock is another: files are of next month or last, and the machine seems booted anew."""
    all_killed(trial)
    trial.finish()
    jump = trial.rng.choice((-MONTH_S, MONTH_S))
    for path in trial.workspace.project.rglob("*"):
        if not path.is_symlink():
            state = path.stat()
            os.utime(path, (state.st_atime + jump, state.st_mtime + jump))
    trial.prefix = time_namespace(MONTH_S)


def cache_damaged(trial: Trial) -> None:
    """After a whole run an output is lost, and the copy of it in DVC's cache is another."""
    trial.start()
    trial.finish()
    if cached := sorted(path for path in _new_in_cache(trial) if path.stat().st_size):
        _damage(trial, trial.rng.choice(cached))
    for output in trial.outputs():
        _remove(output)


def output_damaged(trial: Trial) -> None:
    """After a whole run a byte of an output is another."""
    trial.start()
    trial.finish()
    _damage(trial, trial.rng.choice(_written(trial)))


def output_halved(trial: Trial) -> None:
    """Killed, and of a file that it had written only the first half is there."""
    all_killed(trial)
    trial.finish()
    if files := _written(trial):
        victim = trial.rng.choice(files)
        state = victim.stat()
        victim.write_bytes(victim.read_bytes()[: state.st_size // 2])
        os.utime(victim, ns=(state.st_atime_ns, state.st_mtime_ns))  # a disk that loses data leaves the dates


def dvc_file_torn(trial: Trial) -> None:
    """Killed, and of a file that DVC writes in place only the beginning is there."""
    all_killed(trial)
    trial.finish()
    victims = [path for name in DVC_FILES if (path := trial.workspace.project / name).exists()]
    if victims:
        victim = trial.rng.choice(victims)
        victim.write_bytes(victim.read_bytes()[: trial.rng.randrange(max(1, victim.stat().st_size))])


def _written(trial: Trial) -> list[Path]:
    """The files of the stage's outputs that hold anything."""
    files = {file for path in trial.outputs() for file in ([path] if path.is_file() else path.rglob("*"))}
    return sorted(file for file in files if file.is_file() and file.stat().st_size)


def _new_in_cache(trial: Trial) -> list[Path]:
    """The files that the stage has added to DVC's cache."""
    project, cache = trial.workspace.project, Path(".dvc/cache/files")
    before = trial.workspace.before(trial.stage)
    found = [path.relative_to(project) for path in (project / cache).rglob("*") if path.is_file()]
    return [project / path for path in found if not (before / path).exists()]


def _damage(trial: Trial, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[trial.rng.randrange(len(content))] ^= 1 << trial.rng.randrange(8)
    path.chmod(0o644)  # DVC's cache is read-only
    path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
