"""One step: `python -m benchmarks.simulated PART NUMBER INPUTS VIDEOS`; prints what it took, or null past the last.

The peak is that of the largest process: this one, or one that it waited for. A step that was told to end leaves what
it took so far in PART's folder, and the next run of it adds to that.
"""

import importlib
import json
import resource
import signal
import sys
import time
from pathlib import Path

from amd.runtime.files import read_json, write_json
from benchmarks.simulated import Sizes, Step


def main() -> None:
    """Run the step and say what it took."""
    part, number, *sizes = sys.argv[1:]
    given = Sizes(*map(int, sizes))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    steps = importlib.import_module(f"benchmarks.simulated.{part}").steps(given)
    if int(number) == len(steps):
        print("null")
        return
    step = steps[int(number)]
    took = _run(step, given, Path(f"took-{number}.json"))
    disk = {"disk_mb": size_mb(step.leaves) if step.leaves else None}
    print(json.dumps({"step": step.name, "items": step.items} | took | disk))


def _run(step: Step, sizes: Sizes, record: Path) -> dict[str, float]:
    """Seconds and peak of a step, of all its runs together."""
    before = read_json(record) if record.exists() else {"seconds": 0.0, "peak_mb": 0.0}
    seconds = before["seconds"]
    try:
        with step.within():
            began = time.perf_counter()
            try:
                step.run(sizes)
            finally:
                seconds += time.perf_counter() - began
    finally:
        took = {"seconds": seconds, "peak_mb": max(before["peak_mb"], peak_mb())}
        write_json(record, took)
    return took


def peak_mb() -> float:
    """Largest resident size of this process and of those that it waited for, in MB."""
    from benchmarks.measure import high_water_mark_mb  # after the step: what it loads would count for its programs

    return max(high_water_mark_mb(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def size_mb(pattern: str) -> float:
    """Size of the files that match, in MB."""
    return sum(path.stat().st_size for path in Path().glob(pattern) if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
