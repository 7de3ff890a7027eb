"""Stage corpus: the built-in clips with exact masks. Input: params.corpus. Output: data/corpus."""

from pathlib import Path
from typing import TYPE_CHECKING

from amd.config import Params
from amd.data.synthetic.clips import make_corpus
from stages import run_stage

if TYPE_CHECKING:
    from amd.runtime.tracking import Run


def main(params: Params, run: "Run") -> None:
    """Write the corpus that params.yaml describes."""
    make_corpus(Path("data/corpus"), params.corpus)


if __name__ == "__main__":
    run_stage("corpus", main, guards=True)
