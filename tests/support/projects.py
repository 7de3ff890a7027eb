"""A project of its own for the tests of stages: small parameters in a folder, where the stages work."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]


def write_params(path: Path, *changes: dict[str, dict]) -> Path:
    """The project's params.yaml with its sections changed, later changes over earlier ones."""
    yaml = YAML(typ="safe")
    tree = yaml.load(REPOSITORY / "params.yaml")
    for change in changes:
        for section, values in change.items():
            tree[section] |= values
    with path.open("w") as file:
        yaml.dump(tree, file)
    return path


def enter_project(folder: Path, changes: dict[str, dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` the working folder, with the project's parameters changed, a store of its own and one thread."""
    write_params(folder / "params.yaml", changes)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("AMD_MLFLOW_RUN", "AMD_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def init_dvc(stages: str) -> None:
    """Make the current folder a project of git and DVC with the pipeline `stages`."""
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    Path("dvc.yaml").write_text(stages)
