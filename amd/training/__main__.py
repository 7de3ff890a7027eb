"""One process of a training: `python -m amd.training TASK`; torchrun starts several, on one machine or on many."""

import argparse
import json
from pathlib import Path

from amd.config import DEFAULT_PATH, load_params
from amd.models.checkpoint import save_checkpoint
from amd.runtime.errors import exit_on_user_error, system_errors
from amd.runtime.files import write_json
from amd.runtime.tracking import attached_run
from amd.training import embedding, motion, pretrain, semantic
from amd.training.distributed import join_processes
from amd.training.task import run_task, summary

TASKS = {"pretrain": pretrain, "embedding": embedding, "semantic": semantic, "motion": motion}  # of params.yaml


@exit_on_user_error
@system_errors()
def main() -> None:
    """Train, or go on training; write the checkpoint and the history."""
    options = _options()
    params = load_params(options.params)
    with join_processes(getattr(params, options.task).device) as process:
        if options.task == "motion":  # no checkpoint of a model that users open, and a schedule of its own
            motion.run(params.motion, options, process)
            return
        task = TASKS[options.task].make_task(params, options, process)
        progress = run_task(task, options.state, process, attached_run() if process.is_main else None)
        if process.is_main:
            if progress.kept is not None:
                words = f"of iteration {progress.kept} are kept: held-out videos agree best with them"
                print(f"training: ended at iteration {progress.iteration}; weights {words} ({progress.agreement:.3f})")
            save_checkpoint(options.out, task.network, task.info())
            write_json(options.history, summary(task, progress, process.count))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m amd.training", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, module in TASKS.items():
        task = tasks.add_parser(name, help=(module.__doc__ or "").splitlines()[0], description=module.__doc__)
        task.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
        task.add_argument("--state", type=Path, required=True, help="where the state to go on from is kept")
        task.add_argument("--out", type=Path, required=True, help="the checkpoint")
        task.add_argument("--history", type=Path, required=True, help="JSON of the loss curve")
        task.add_argument("--lineage", type=json.loads, default={}, help="JSON kept in the checkpoint")
        task.add_argument("--start", type=Path, help="a local file whose weights are the first ones")
        module.add_arguments(task)
    return parser.parse_args()


if __name__ == "__main__":
    main()
