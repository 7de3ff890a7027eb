"""Stage instances: the built-in images with instances, in the layout of Pascal VOC, under data/instances."""

from pathlib import Path
from typing import TYPE_CHECKING

from amd.data.synthetic_instances import make_instance_corpus
from amd.params import Params
from stages import run_stage

if TYPE_CHECKING:
    from amd.tracking import Run


def main(params: Params, run: "Run") -> None:
    """Write the images that params.yaml describes."""
    make_instance_corpus(Path("data/instances"), params.instance_corpus)


if __name__ == "__main__":
    run_stage("instances", main)
