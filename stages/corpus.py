"""Stage corpus: the built-in clips with exact masks, under data/corpus."""

from pathlib import Path

from amd.data.synthetic import make_corpus
from amd.params import Params
from amd.tracking import Run
from stages import run_stage


def main(params: Params, run: Run) -> None:
    """Write the corpus that params.yaml describes."""
    make_corpus(Path("data/corpus"), params.corpus)


if __name__ == "__main__":
    run_stage("corpus", main)
