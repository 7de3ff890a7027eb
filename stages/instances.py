"""Stage instances: the built-in images with instances, in the layout of Pascal VOC.

Input: params.instance_corpus. Output: data/instances.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from amd.config import Params
from amd.data.synthetic.instances import make_instance_corpus
from stages import run_stage

if TYPE_CHECKING:
    from amd.runtime.tracking import Run


def main(params: Params, run: "Run") -> None:
    """Write the images that params.yaml describes."""
    make_instance_corpus(Path("data/instances"), params.instance_corpus)


if __name__ == "__main__":
    run_stage("instances", main, guards=True)
