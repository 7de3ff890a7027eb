"""DVC stages: parameters in, one call into `amd`, files and metrics out.

`run_stage` is what they share: validated parameters, an MLflow run with the lineage of the stage's inputs, and
user errors as one line with exit status 2.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from amd.errors import exit_on_user_error
from amd.params import Params, load_params

if TYPE_CHECKING:
    from amd.tracking import Run


@exit_on_user_error
def run_stage(name: str, body: Callable[[Params, "Run"], None]) -> None:
    """Run a stage's body in its MLflow run."""
    from amd.tracking import stage_run  # here, because the stages' worker processes import this module too

    params = load_params()
    with stage_run(name, params.model_dump(by_alias=True), input_tags(params)) as run:
        body(params, run)


def input_tags(params: Params) -> dict[str, str]:
    """What the pipeline's state came from: DVC's hash of every locked dependency, and the parameters' hash."""
    from amd.tracking import params_hash

    return {"params.sha256": params_hash(params)} | {f"dvc.{path}": hash_ for path, hash_ in locked_hashes().items()}


def locked_hashes() -> dict[str, str]:
    """Every output and dependency that dvc.lock names, with its hash; empty before the first run."""
    lock = Path("dvc.lock")
    if not lock.exists():
        return {}
    stages = (YAML(typ="safe").load(lock) or {}).get("stages", {})
    entries = [entry for stage in stages.values() for key in ("deps", "outs") for entry in stage.get(key, [])]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}
