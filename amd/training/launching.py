"""A training as part of a larger work: in several processes where asked, and gone on with after a kill.

Input: what it is made from. Output: what `python -m amd.training TASK` writes. Without torch, which the program of the
training itself imports.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amd.config import Params
from amd.data.ingest.held_out import JUDGES, held_out
from amd.runtime.files import run_lock, sha256
from amd.runtime.processes import program_group
from amd.runtime.receipts import fingerprint

PROGRAM = "amd.training"
GRACE_S = 60.0  # for the step under way to end, and the state to be saved


def run_training(
    task: str,
    params: Params,
    made_from: Any,
    options: Mapping[str, Any],
    states: Path,
    lineage: Mapping[str, str],
    then: Callable[[], object] = lambda: None,
    lock: str | None = None,
) -> None:
    """Run `python -m amd.training TASK` with --state, the lineage and the `options` not None.

    `made_from` is plain data, what the training is made from, and names the state's folder below `states`: a training
    goes on only from a state of the very same. `then` is what is made of the training; an interruption there costs no
    step of it. Ends this process with the training's status when that is not 0; UserError while another run is at this
    training, or at any that has the same `lock`.
    """
    key = fingerprint([task, made_from])[:16]
    state = states / task / key
    words = {"--state": state / "state.safetensors", "--lineage": json.dumps(dict(lineage))}
    given = [str(word) for option in (words | dict(options)).items() if option[1] is not None for word in option]
    with run_lock(states / "locks" / (lock or key), task):
        if status := launch(PROGRAM, [task, *given], getattr(params, task).processes):
            sys.exit(status)
        then()
        shutil.rmtree(state, ignore_errors=True)


def made_from(params: Params, index: Path, start: Path | None = None, manifest: Path | None = None) -> list:
    """What a pretraining is made from, as plain data: parameters, shards, first weights, and the videos that end it."""
    judges = [row["sha256"] for row in held_out(manifest, JUDGES)] if manifest and params.pretrain.patience else []
    sections = [params.model.model_dump(), params.pretrain.model_dump()]
    return [*sections, sha256(index), start and sha256(start), [params.predict.short_edge, *judges] if judges else None]


def launch(module: str, arguments: Sequence[str], processes: int) -> int:
    """Run `python -m module` in `processes` torchrun processes on this machine; its exit status.

    However this process ends, they end too, and are given the time to save where they are.
    """
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    with program_group([*command, "-m", module, *arguments], GRACE_S) as program:
        return program.wait()
