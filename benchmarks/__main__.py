"""All benchmarks with one command; subjects are the modules beside this one.

    python -m benchmarks [--only SUBJECT ...] [--quick] [--json FILE]

Prints a table, and writes JSON with the machine, versions, threads, load and every number. A ratio is times better
than what it stands against, in the same run; "met" compares it with its target.
"""

import argparse
import importlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import write_json
from amd.runtime.processes import keep_freed_memory
from benchmarks.measure import Row, Setting
from benchmarks.table import HEADER, line

SUBJECTS = ("limits", "decoding", "sharding", "evidence", "reading", "training_step", "inference", "adaptation", "clip")
ALONE = ("busy",)  # run when asked for by name


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the subjects, print rows as they come, write the JSON."""
    options = _options(arguments)
    keep_freed_memory()
    # A training alone has a few hundred convolutions; taken in turn, several would throw each other's out of the cache.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    # Here, since every process that a subject starts imports this module first: sharding's load no torch.
    import torch

    from amd.models.precision import choose_device
    from benchmarks.machine import describe

    report = describe() | {"quick": options.quick, "subjects": {}, "rows": []}
    print(f"{report['machine']['cpu']}, {torch.get_num_threads()} threads, load {report['load_average'][0]:.2f}")
    print(HEADER, flush=True)
    device = choose_device()
    with tempfile.TemporaryDirectory(prefix="amd-benchmarks-") as folder:
        setting = Setting(options.quick, device, Path(folder))
        for subject in options.only:
            rows, seconds = _run(subject, setting)
            report["subjects"][subject] = {"seconds": seconds}
            report["rows"] += [row.to_dict() for row in rows]
            if options.json:
                write_json(options.json, report)  # an interrupted run keeps what it has


def _run(subject: str, setting: Setting) -> tuple[list[Row], float]:
    """One subject's rows, printed as they come, and the seconds that it took."""
    began = time.perf_counter()
    rows = []
    with redirect_stderr(io.StringIO()):  # progress lines of what is measured
        for row in importlib.import_module(f"benchmarks.{subject}").measure(setting):
            rows.append(replace(row, subject=subject))
            print(line(rows[-1].to_dict()), flush=True)
    seconds = time.perf_counter() - began
    print(f"# {subject}: {seconds:.0f} s", file=sys.stderr, flush=True)
    return rows, seconds


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subjects = f"of {', '.join(SUBJECTS)}; by name alone: {', '.join(ALONE)}"
    parser.add_argument(
        "--only", nargs="+", choices=SUBJECTS + ALONE, default=SUBJECTS, metavar="SUBJECT", help=subjects
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
