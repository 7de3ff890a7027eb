"""DVC stages: parameters in, one call into `amd`, files and metrics out.

`run_stage` is what they share: validated parameters, an MLflow run with the lineage of the stage's inputs, events in
the log, and user errors as one line with exit status 2, followed by where the log is and how to go on.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from amd.config import Params, load_params
from amd.runtime.errors import announce_interrupts, exit_on_user_error, system_errors
from amd.runtime.files import remove_half_written, sha256
from amd.runtime.logs import event, logged
from amd.runtime.processes import dvc_is_gone, dvc_process, follow, keep_freed_memory
from stages.lock_files import keep_lock_files, lock_files
from stages.owned import at_work, empty_persistent, require_owned, this_command
from stages.project import open_project, require_own_store

if TYPE_CHECKING:
    from amd.runtime.tracking import About, Run

LOCK = Path("dvc.lock")
FOLDERS = ("data", "models", "metrics", "report")  # that stages write files to; larger trees clean themselves

announce_interrupts()  # also while a stage's libraries are imported, which takes seconds


@exit_on_user_error
def run_stage(name: str, body: Callable[[Params, "Run"], None], keeps: bool = False, guards: bool = False) -> None:
    """Run a stage's body in its MLflow run; being told to end is an interruption like any other.

    `keeps` and `guards` say that the stage's outputs persist: DVC does not empty them before, and foreign files in them
    are a UserError. What `keeps` is for the body to keep or replace; what `guards` is then emptied here.
    """
    require_own_store()
    from amd.config import params_hash
    from amd.runtime.tracking import LINEAGE_NAME, stage_run  # here: the stages' workers import this module too

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if dvc := dvc_process():
        follow(dvc)  # a killed DVC leaves its stage running, which then stands in the next one's way
    elif dvc_is_gone():  # killed while this program was imported
        raise KeyboardInterrupt
    emptied = dvc is not None and not (keeps or guards)
    if Path(".dvc").is_dir() and not emptied:
        with open_project() as project:
            print("".join(f"{line}\n" for line in require_owned(project, this_command())), end="")
            if guards:
                empty_persistent(project, this_command())
    params = load_params()
    lock = sha256(LOCK) if LOCK.exists() else None
    hashes = {"params.sha256": params_hash(params)}
    for folder in FOLDERS:
        remove_half_written(Path(folder))
    with (
        system_errors(),
        at_work(this_command(), emptied),
        logged(name, params=hashes["params.sha256"], dvc_lock=lock),
        stage_run(name, params.model_dump(by_alias=True), hashes, lambda: _about(params)) as run,
    ):
        event("tracked", mlflow_run=run.id)
        run.json(input_tags(params), LINEAGE_NAME)
        keep_lock_files()
        body(params, run)


def _about(params: Params) -> "About":
    """The pipeline's run as people see it: the profile that is nearest, and what differs from the defaults."""
    from amd.config.profiles import differences, load_profile, nearest_profile
    from amd.runtime.tracking import About

    name, changed = nearest_profile(params)
    return About(f"{name}, {changed} changed" if changed else name, differences(params, load_profile("quickstart")))


def input_tags(params: Params) -> dict[str, str]:
    """What the pipeline's state came from: DVC's hash of every locked dependency, and the parameters' hash."""
    from amd.config import params_hash

    return {"params.sha256": params_hash(params)} | {f"dvc.{path}": hash_ for path, hash_ in locked_hashes().items()}


def locked_hashes() -> dict[str, str]:
    """Every output and dependency that a dvc.lock names, with its hash; the main pipeline has the last word."""
    hashes: dict[str, str] = {}
    for lock in lock_files():
        stages = (YAML(typ="safe").load(lock) or {}).get("stages", {})
        entries = [entry for stage in stages.values() for key in ("deps", "outs") for entry in stage.get(key, [])]
        hashes |= {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}
    return hashes
