"""A training as part of a stage: in several processes where asked, and gone on with after a kill."""

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amd.runtime.files import run_lock
from amd.runtime.receipts import fingerprint
from amd.training.distributed import launch

STATES = Path(".amd")


def run_training(
    module: str,
    made_from: Any,
    options: Mapping[str, Any],
    processes: int,
    then: Callable[[], object] = lambda: None,
) -> None:
    """Run `python -m module` with `options` and --state, whose folder is named by what the training is made from.

    `made_from` is plain data: a training goes on only from a state of the very same. `then` is what the stage makes of
    the training; an interruption there costs no step of it. Ends this process with the training's status when that is
    not 0; UserError while another run is at this training.
    """
    key = fingerprint([module, made_from])[:16]
    state = STATES / module.removeprefix("amd.") / key
    words = [str(word) for pair in (options | {"--state": state / "state.safetensors"}).items() for word in pair]
    with run_lock(STATES / "locks" / key, module):
        if status := launch(module, words, processes):
            sys.exit(status)
        then()
        shutil.rmtree(state, ignore_errors=True)
