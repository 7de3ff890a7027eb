"""The pipeline at size: 100,000 inputs through ingest and DVC, 10,000 videos through the fan-out, work stubbed.

    python -m benchmarks.simulation [--only ingest dvc fan_out mlflow] [--inputs 100000] [--videos 10000] [--json FILE]

Inputs are two tiny frames each, one in ten a video, all different; a video's adaptation is a program that copies what
it would have made. Everything around the work is the real thing: amd.data.ingest.manifest, `dvc repro`, the flow of
flows.adapt against a Prefect server of its own, MLflow's SQLite store. Every step runs in a process of its own. Prints
a row a step: seconds, items a second, peak memory of the largest process, size of the database on disk.

With --folder DIR the scratch stays there, and the same command continues a run that was interrupted: steps that are
done are not repeated, and the seconds of the one that was cut short add up.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import read_json, write_json
from amd.runtime.processes import process_group
from benchmarks.machine import describe
from benchmarks.simulated import Sizes

HEADER = f"{'step':58} {'items':>7} {'seconds':>8} {'items/s':>8} {'memory MB':>10} {'on disk MB':>10}"
GRACE_S = 60.0  # a step that is told to end saves its state


@dataclass(frozen=True)
class Measured:
    """One row of the table."""

    step: str
    items: int
    seconds: float  # of the work; a Python step's imports and a server's start do not count
    peak_mb: float  # of the largest process of the step
    disk_mb: float | None  # of the database or table that it leaves

    def line(self) -> str:
        """For a terminal."""
        disk = "" if self.disk_mb is None else f"{self.disk_mb:.1f}"
        rate = self.items / self.seconds
        return f"{self.step:58} {self.items:7,} {self.seconds:8.1f} {rate:8.0f} {self.peak_mb:10.0f} {disk:>10}"


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run the parts, print the table."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = Sizes(options.inputs, options.videos)
    rows = []
    print(HEADER, flush=True)
    with _scratch(options.folder) as folder:
        for part in options.only:
            for row in _measure(part, folder, sizes):
                print(row.line(), flush=True)
                rows.append(row)
    if options.json:
        write_json(options.json, describe() | {"rows": [asdict(row) for row in rows]})


@contextmanager
def _scratch(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="amd-simulation-") as folder:
            yield Path(folder)


def _measure(part: str, folder: Path, sizes: Sizes) -> Iterator[Measured]:
    """The rows of a part; each step is a program, so that it has a peak of its own."""
    for number in count():
        known = folder / f"{part}-{number}-of-{sizes.inputs}-{sizes.videos}.json"
        found = read_json(known) if known.exists() else _run_step(part, number, folder, sizes)
        if found is None:
            return
        write_json(known, found)
        if found["items"]:
            yield Measured(**found)


def _run_step(part: str, number: int, folder: Path, sizes: Sizes) -> dict[str, Any] | None:
    """What a step says of itself; None past the last. UserError with its last lines when it fails."""
    home, log = folder / part, folder / f"{part}.log"
    home.mkdir(exist_ok=True)
    path = os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "benchmarks.simulated", part, str(number), *map(str, sizes)]
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}  # a server of its own
    environment = {**ours, "PYTHONPATH": path}
    with log.open("w") as errors:
        options = {"cwd": home, "env": environment, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
        with process_group(command, GRACE_S, **options) as process:
            printed = process.stdout.read()
            status = process.wait()
    if status != 0:
        raise UserError(f"{part}, step {number}: {' | '.join(log.read_text().splitlines()[-3:])}")
    return json.loads(printed.splitlines()[-1])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("ingest", "dvc", "fan_out", "mlflow")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help="parts to run")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="rows of the manifest")
    parser.add_argument("--videos", type=int, default=10_000, metavar="N", help="items of the fan-out")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the scratch there: 2 GB in many small files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
