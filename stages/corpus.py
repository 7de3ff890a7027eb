"""Stage: the built-in corpus. params: corpus; out: data/corpus."""

from pathlib import Path

from amd.data.synthetic import make_corpus
from amd.params import load_params


def main() -> None:
    """Write the corpus that params.yaml describes."""
    make_corpus(Path("data/corpus"), load_params().corpus)


if __name__ == "__main__":
    main()
