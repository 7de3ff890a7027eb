"""Stage start: what the training begins with, a parameter file of the stage pretrain.

Input: pretrain.start. Output: models/start.yaml. The flow refresh has the stage say something else by AMD_START: the
champion of that moment. That stays until pretrain.start is changed, so that `dvc repro` goes on with what the flow
decided; params.yaml is the user's.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from amd.config import Params
from amd.runtime.errors import UserError
from amd.runtime.files import write_json
from stages import run_stage

if TYPE_CHECKING:
    from amd.runtime.tracking import Run

VARIABLE = "AMD_START"
FILE = Path("models/start.yaml")


def main(params: Params, run: "Run") -> None:
    """Write the choice."""
    start = os.environ.get(VARIABLE) or params.pretrain.start
    write_json(FILE, {"start": start})  # JSON is YAML
    run.tags({"pretrain.start": start or "from scratch"})
    print(f"start: {start or 'from scratch'}")


def read_start() -> str | None:
    """models:/NAME/VERSION, a checkpoint's path, or None for a training from scratch; UserError without the file."""
    try:
        return YAML(typ="safe").load(FILE)["start"]
    except (OSError, KeyError, TypeError):
        raise UserError(f"{FILE}: not there or damaged; run the stage start first") from None


if __name__ == "__main__":
    run_stage("start", main, keeps=True)
