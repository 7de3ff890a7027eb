"""DVC over a folder of all inputs: the first hashing, status and repro when nothing changed, and with a few more.

Two stages as in the pipeline: a manifest of the folder, and a folder of a file per input made from the manifest.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.simulated import Sizes, Step

MORE = 10
STAGES = """stages:
  ingest:
    cmd: ls -R videos > manifest.txt
    deps: [videos]
    outs: [manifest.txt]
  shard:
    cmd: python -m benchmarks.simulated.shards manifest.txt shards
    deps: [manifest.txt]
    outs:
      - shards:
          persist: true
"""


def steps(sizes: Sizes) -> list[Step]:
    """The steps of the part."""
    return [
        Step("set up", _set_up),
        Step("dvc repro: the first time", lambda _: _dvc("repro"), sizes.inputs, ".dvc/cache/**/*"),
        Step("dvc status: nothing changed", lambda _: _dvc("status"), sizes.inputs),
        Step("dvc repro: nothing changed", lambda _: _dvc("repro"), sizes.inputs),
        Step("make more", lambda sizes: _make_inputs(sizes.inputs, MORE)),
        Step(f"dvc repro: {MORE} inputs are new", lambda _: _dvc("repro"), sizes.inputs + MORE, ".dvc/cache/**/*"),
    ]


def _set_up(sizes: Sizes) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    _dvc("init", "-q", "-f")
    Path("dvc.yaml").write_text(STAGES.replace("python", sys.executable))
    _make_inputs(0, sizes.inputs)


def _make_inputs(first: int, number: int) -> None:
    from benchmarks.simulated.inputs import make_inputs  # not at the top: the size of what it loads would count

    make_inputs(Path("videos"), first, number)


def _dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, stdout=subprocess.DEVNULL)
