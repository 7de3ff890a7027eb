"""The tiny project that is disturbed: made once, run once stage by stage, and put back to before any stage.

Input: this repository's code. Output: a DVC project of a few clips and iterations, in a temporary folder whose logs
stay until the next start. Where this program may mount (faults.mounts), the project lies on a small disk of its own,
which can be filled without harm to others.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from ruamel.yaml import YAML

from amd.draw.video import encoded_video
from amd.runtime.errors import UserError
from amd.runtime.files import run_lock
from faults.mounts import may_mount, mount_disk, unmount
from faults.results import Results, read_results

REPOSITORY = Path(__file__).resolve().parent.parent
PREFIX = "amd-faults-"
MARKER = "AMD_FAULTS"  # in the environment of every process that is started here, and of its children
LOCK = "lock"
DISK_MB = 400
DVC = (sys.executable, "-m", "dvc")
TINY = {
    "corpus": {"train_clips": 3, "heldout_clips": 2, "frames": 6, "width": 96, "height": 64, "workers": 2},
    "ingest": {"workers": 2},
    "shard": {"short_edge": 64, "workers": 2, "min_change": 0.0, "pairs_per_shard": 3},
    "model": {"segments": 3, "motion_height": 64, "motion_width": 64},
    "pretrain": {
        "iterations": 6, "batch_size": 2, "short_edge": 50, "crop": 48, "checkpoint_every": 2, "log_every": 1,
        "pictures_every": 4, "precision": "float32",
    },
    "objectness": {"pairs": 4},
    "predict": {"short_edge": 48},
    "adapt": {"iterations": 2, "batch_size": 1, "short_edge": 50, "crop": 48, "precision": "float32"},
    "fused": {"iterations": 1, "frames": 4},
}  # fmt: skip


@dataclass
class Workspace:
    """The project's folder, what the undisturbed run left in it, and its state before every stage."""

    beside: Path  # snapshots and logs, on another disk than the project where that can be filled
    stages: list[str] = field(default_factory=list)  # that the undisturbed run did, in order
    seconds: dict[str, float] = field(default_factory=dict)  # that each took
    results: dict[str, Results] = field(default_factory=dict)  # after each

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.beside / "project"

    def environment(self, **more: str) -> dict[str, str]:
        """Of the project's commands: its own code first, its own stores, one thread, and the mark."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PREFECT_", "AMD_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{ours.get('PATH', os.defpath)}"
        fixed = {"PATH": path, "PYTHONPATH": str(self.project), "OMP_NUM_THREADS": "1"}
        fixed |= {MARKER: self.beside.name}
        return ours | fixed | more

    def start(self, command: Sequence[str], log: Path, **more: str) -> subprocess.Popen:
        """Start a command in the project, leading a process group; its output goes to the end of `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.project,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def mend(self) -> list[str]:
        """Run `python -m stages.prepare` in the project; what it says, and RuntimeError where it fails."""
        command = (sys.executable, "-m", "stages.prepare")
        done = subprocess.run(command, cwd=self.project, env=self.environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"stages.prepare ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout.splitlines()

    def log(self, name: str) -> Path:
        """An empty log file."""
        path = self.beside / "logs" / f"{name}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        return path

    def processes(self) -> list[psutil.Process]:
        """Every process that was started here, and what these started, whoever is their parent now."""
        return _processes(self.beside.name)

    def end_processes(self) -> None:
        """Kill what is left of the project's processes."""
        _kill(self.beside.name)

    def before(self, stage: str) -> Path:
        """Where the state before `stage` is kept."""
        return self.beside / "before" / stage

    def save(self, stage: str) -> None:
        """Keep the project as it is now as the state before `stage`."""
        shutil.copytree(self.project, self.before(stage), symlinks=True)

    def restore(self, stage: str) -> None:
        """Put the project back to the state before `stage`."""
        for path in self.project.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(self.before(stage), self.project, symlinks=True, dirs_exist_ok=True)


@contextmanager
def workspace(until: str | None = None) -> Iterator[Workspace]:
    """The project after an undisturbed run of all stages, or of those up to `until`; RuntimeError where one fails."""
    _clear_stale()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with run_lock(folder / LOCK, "faults"):
        made = Workspace(folder)
        made.project.mkdir()
        if may_mount():
            mount_disk(made.project, DISK_MB)
        try:
            _make_project(made)
            _run_undisturbed(made, until)
            yield made
        finally:
            made.end_processes()
            if may_mount():
                unmount(made.project)
            for path in (made.project, folder / "before", folder / "prefect"):  # the logs stay, to be read
                shutil.rmtree(path, ignore_errors=True)


def _clear_stale() -> None:
    """Remove what earlier rounds left: logs, and where they were killed, their processes and folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        ours = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        if ours and (folder / LOCK).exists():
            with suppress(UserError), run_lock(folder / LOCK, "faults"):  # UserError: that round is at work
                _kill(folder.name)
                shutil.rmtree(folder, ignore_errors=True)


def _processes(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get(MARKER) == marker and process.pid != os.getpid()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _kill(marker: str) -> None:
    for process in _processes(marker):
        with suppress(psutil.Error):
            process.kill()


def repro(stage: str) -> tuple[str, ...]:
    """The command that a user repeats: one stage through DVC."""
    return (*DVC, "repro", "--single-item", stage)


def _make_project(made: Workspace) -> None:
    for name in ("amd", "stages", "flows", "pipelines", "videos"):
        shutil.copytree(REPOSITORY / name, made.project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / name, made.project / name)
    # As the installation does.
    _run(made, (sys.executable, "-m", "compileall", "-q", "amd", "stages", "flows"), "setup")
    with encoded_video(made.project / "examples/clip.mp4") as clip:
        for number in range(6):
            clip.write(np.full((48, 64, 3), 40 * number, np.uint8), number / 25)
    yaml = YAML()
    tree = yaml.load(made.project / "params.yaml")
    for section, values in TINY.items():
        tree[section].update(values)
    yaml.dump(tree, made.project / "params.yaml")
    somebody = ("-c", "user.name=faults", "-c", "user.email=faults@localhost")
    commit = ("git", *somebody, "commit", "-q", "--allow-empty", "-m", "-")
    for command in (("git", "init", "-q"), commit, (*DVC, "init", "-q")):
        _run(made, command, "setup")


def _run_undisturbed(made: Workspace, until: str | None) -> None:
    """Every stage in turn, each with its duration, its results and the state before it."""
    for stage in stage_names(made.project):
        made.save(stage)
        started = time.monotonic()
        _run(made, repro(stage), f"undisturbed-{stage}")
        made.seconds[stage] = time.monotonic() - started
        made.stages.append(stage)
        made.results[stage] = read_results(made.project, made.stages)
        if stage == until:
            return


def stage_names(project: Path) -> list[str]:
    """The pipeline's stages as dvc.yaml lists them, which is an order that they can run in."""
    return list(YAML(typ="safe").load(project / "dvc.yaml")["stages"])


def _run(made: Workspace, command: Sequence[str], name: str) -> None:
    log = made.log(name)
    status = made.start(command, log).wait()
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {status}:\n{log.read_text(errors='replace')[-3000:]}")
