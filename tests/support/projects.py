"""A project of its own for the tests of stages: small parameters in a folder, where the stages work."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]


def enter_project(folder: Path, changes: dict[str, dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` the working folder, with the project's parameters changed, a store of its own and one thread."""
    yaml = YAML(typ="safe")
    tree = yaml.load(REPOSITORY / "params.yaml")
    for section, values in changes.items():
        tree[section] |= values
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(tree, file)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("AMD_MLFLOW_RUN", "AMD_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
