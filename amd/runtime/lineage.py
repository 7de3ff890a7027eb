"""Where a run came from, as tags: the commit, the versions of what it ran on, and the source as MLflow shows it."""

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlflow.entities import SourceType
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

VERSIONS = ("torch", "numpy", "dvc", "prefect", "mlflow-skinny", "decord", "webdataset", "pyarrow")
PIPELINE = Path("dvc.yaml")
SHORT = 7  # characters of a commit


def git_tags() -> dict[str, str]:
    """The commit and whether tracked files were changed; empty outside a git repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def version_tags() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on; a package that is not installed has none."""
    tags = {"version.python": platform.python_version()}
    for name in VERSIONS:
        with suppress(PackageNotFoundError):  # decord, where it has no wheel
            tags[f"version.{name}"] = version(name)
    return tags


def source_tags(commit: str | None) -> dict[str, str]:
    """The columns Source and Version of MLflow's list of runs."""
    source = str(PIPELINE) if PIPELINE.exists() else Path.cwd().name
    tags = {MLFLOW_SOURCE_NAME: source, MLFLOW_SOURCE_TYPE: SourceType.to_string(SourceType.LOCAL)}
    return tags | ({MLFLOW_GIT_COMMIT: commit} if commit else {})


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return result.stdout.strip() if result.returncode == 0 else None
