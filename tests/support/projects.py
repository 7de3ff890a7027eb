"""A project of its own for the tests of stages: small parameters in a folder, where the stages work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from amd.config import Params

REPOSITORY = Path(__file__).resolve().parents[2]


def write_params(path: Path, *changes: dict[str, dict], base: str | None = None) -> Path:
    """The project's params.yaml, or the text `base`, with its sections changed, later changes over earlier ones."""
    yaml = YAML(typ="safe")
    tree = yaml.load(base or REPOSITORY / "params.yaml")
    for change in changes:
        for section, values in change.items():
            tree[section] |= values
    with path.open("w") as file:
        yaml.dump(tree, file)
    return path


def python(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """This interpreter on this repository's code, with more environment variables; what it said, however it ended."""
    how = {"env": os.environ | {"PYTHONPATH": str(REPOSITORY)} | variables, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, *words], check=False, timeout=300, **how)


def change_params(path: Path, **sections: dict) -> None:
    """Change sections of a params.yaml that is there."""
    write_params(path, sections, base=path.read_text())


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


def planned(folder: Path, pipeline: str, there: list[str], changes: dict[str, dict], main: bool = False) -> list[str]:
    """The commands that DVC would run for pipelines/<pipeline>, in order, in a copy of this repository's code.

    `there` are files (which have a suffix) and folders that earlier stages would leave: a dry run wants them. With
    `main` the main pipeline is there too.
    """
    for name in ("amd", "stages", "flows", "pipelines", "videos"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(folder / "params.yaml", changes)
    if main:
        shutil.copy(REPOSITORY / "dvc.yaml", folder)
    for path in (folder / name for name in there):
        (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=folder, check=True)
    words = [*dvc, "repro", "--dry", f"pipelines/{pipeline}/dvc.yaml"]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [line.removeprefix("> python -m ") for line in result.stdout.splitlines() if line.startswith("> ")]


def corpus_shards(folder: Path, params: Params) -> Path:
    """The index of shards of the built-in corpus that `params` describes, made in a folder."""
    from amd.data.ingest.manifest import ingest
    from amd.data.pairs.write import write_shards
    from amd.data.synthetic.clips import make_corpus

    make_corpus(folder / "corpus", params.corpus)
    write_shards(ingest(folder / "corpus/train", params.ingest, params.shard), folder / "shards", params.shard)
    return folder / "shards/index.parquet"
