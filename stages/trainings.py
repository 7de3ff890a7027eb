"""A training as part of a stage: in several processes where asked, and gone on with after a kill."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amd.config import Params
from amd.runtime.errors import UserError
from amd.runtime.files import run_lock
from amd.runtime.receipts import fingerprint
from amd.training.distributed import launch
from stages import input_tags

STATES = Path(".amd")
PROGRAM = "amd.training"


def run_training(
    task: str,
    params: Params,
    made_from: Any,
    options: Mapping[str, Any],
    then: Callable[[], object] = lambda: None,
    lineage: Mapping[str, str] | None = None,
    lock: str | None = None,
) -> None:
    """Run `python -m amd.training TASK` with --state, the lineage, which `lineage` adds to, and the `options` not None.

    `made_from` is plain data, what the training is made from, and names the state's folder: a training goes on only
    from a state of the very same. `then` is what the stage makes of the training; an interruption there costs no step
    of it. Ends this process with the training's status when that is not 0; UserError while another run is at this
    training, or at any that has the same `lock`.
    """
    key = fingerprint([task, made_from])[:16]
    state = STATES / task / key
    words = {"--state": state / "state.safetensors", "--lineage": json.dumps(input_tags(params) | dict(lineage or {}))}
    given = [str(word) for option in (words | dict(options)).items() if option[1] is not None for word in option]
    with run_lock(STATES / "locks" / (lock or key), task):
        if status := launch(PROGRAM, [task, *given], getattr(params, task).processes):
            sys.exit(status)
        then()
        shutil.rmtree(state, ignore_errors=True)


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
