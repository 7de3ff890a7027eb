"""A training as part of a stage, and the weights that it begins with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amd.config import Params
from amd.runtime.errors import UserError
from amd.runtime.files import sha256
from amd.training import launching
from stages import input_tags

STATES = Path(".amd")


def run_training(
    task: str,
    params: Params,
    made_from: Any,
    options: Mapping[str, Any],
    then: Callable[[], object] = lambda: None,
    lineage: Mapping[str, str] | None = None,
    lock: str | None = None,
) -> None:
    """The training of amd.training.launching, in the project's folder; `lineage` adds to that of the stage's inputs."""
    whole = input_tags(params) | dict(lineage or {})
    launching.run_training(task, params, made_from, options, STATES, whole, then, lock)


def start_file(start: str | None, parameter: str) -> Path | None:
    """The local file of the weights that `parameter` names, downloaded where they are a registered model's.

    A training is given files alone. UserError when there is no such file.
    """
    if start is None:
        return None
    if start.startswith("models:/"):
        from amd.runtime.registered import pull  # MLflow takes seconds to import

        return pull(start)
    if not Path(start).is_file():
        raise UserError(f"{parameter}: {start}: no such checkpoint; give one, or models:/NAME/VERSION")
    return Path(start)


def texture_files(folder: str | None, parameter: str) -> list[list[str]]:
    """Names and contents (hashes) of the files in a folder of textures; none where textures are built-in (None).

    UserError, naming the `parameter`, when the folder is not there.
    """
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder; {parameter} names one of images or videos, or nothing")
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [[path.name, sha256(path)] for path in files]
