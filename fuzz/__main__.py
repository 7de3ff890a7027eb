"""`python -m fuzz`: mutate, use, count; prints a table and the failures, exit status 1 if there are any."""

import argparse
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from fuzz.targets import TARGETS
from fuzz.worker import LOG, Case, Verdict, work

CASE_S = 60.0  # after that a case hangs
START_S = 300.0
ENDING_S = 5.0
HEAD = ("target", "cases", "accepted", "refused", "failed")


def main() -> None:
    """Read the command line, run the cases, print the table."""
    options = _options()
    names = options.only or list(TARGETS)
    numbers = range(options.cases) if options.case is None else [options.case]
    cases = [Case(names[number % len(names)], options.seed, number) for number in numbers]
    with tempfile.TemporaryDirectory(prefix="amd-fuzz-") as folder:
        verdicts = list(run(cases, Path(folder)))
    print(format_table(verdicts))
    if options.case is not None:
        print("\n".join(f"{case}: {verdict.kind}: {verdict.text}" for case, verdict in verdicts))
    sys.exit(any(verdict.kind == "failed" for _, verdict in verdicts))


def run(cases: Iterable[Case], folder: Path) -> Iterator[tuple[Case, Verdict]]:
    """Every case with its verdict; a process that dies or hangs is a failure of its case, and is replaced."""
    worker = None
    try:
        for case in cases:
            worker = worker or _start(folder)
            verdict = _ask(worker, case, folder / LOG)
            if verdict.text.startswith(("crash", "hang", "memory")):
                _stop(worker)
                worker = None
            if verdict.kind == "failed":
                print(_line(case, verdict), flush=True)
            yield case, verdict
    finally:
        if worker:
            _stop(worker)


def format_table(verdicts: list[tuple[Case, Verdict]]) -> str:
    """A row per target in Markdown, and the total."""
    counts = Counter((case.target, verdict.kind) for case, verdict in verdicts)
    rows = [list(HEAD), ["---"] * len(HEAD)]
    for name in [name for name in TARGETS if any(target == name for target, _ in counts)]:
        rows.append([name, *_numbers({kind: counts[name, kind] for kind in ("accepted", "rejected", "failed")})])
    total = Counter(verdict.kind for _, verdict in verdicts)
    rows.append(["total", *_numbers({kind: total[kind] for kind in ("accepted", "rejected", "failed")})])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _numbers(counts: dict[str, int]) -> list[str]:
    return [str(number) for number in (sum(counts.values()), *counts.values())]


def _line(case: Case, verdict: Verdict) -> str:
    repeat = f"python -m fuzz --only '{case.target}' --seed {case.seed} --case {case.number}"
    return f"FAILED {case.target}: {verdict.text} [{repeat}]"


def _start(folder: Path) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, folder), daemon=False)
    process.start()
    theirs.close()
    try:
        ready = ours.poll(START_S) and ours.recv()
    except EOFError:
        ready = False
    if not ready:
        said = (folder / LOG).read_text(errors="replace")[-2000:] if (folder / LOG).exists() else ""
        raise RuntimeError(f"the process for the cases did not start:\n{said}")
    return process, ours


def _ask(worker: tuple[BaseProcess, Connection], case: Case, log: Path) -> Verdict:
    process, pipe = worker
    try:
        pipe.send(case)
        if not pipe.poll(CASE_S):
            return Verdict("failed", f"hang: not done after {CASE_S:g} s")
        return pipe.recv()
    except (EOFError, OSError):
        process.join()
        said = " ".join(log.read_text(errors="replace").splitlines()[-1:])
        return Verdict("failed", f"crash: the process ended with {process.exitcode}: {said[-300:]}")


def _stop(worker: tuple[BaseProcess, Connection]) -> None:
    process, pipe = worker
    pipe.close()  # it ends when it sees that
    process.join(ENDING_S)
    process.kill()
    process.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=3000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(TARGETS), help="this target alone; repeatable")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="one case again, with its verdict")
    return parser.parse_args()


if __name__ == "__main__":
    main()
