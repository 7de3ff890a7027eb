"""`python -m faults`: disturb a tiny project in every way, and print what came of it; exit status 1 if any failed."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from amd.cli.arguments import positive
from amd.runtime.errors import exit_on_user_error
from faults import mounts
from faults.cases import draw_cases, in_series
from faults.catalogue import FAULTS
from faults.records import read_outcomes, write_outcomes
from faults.table import format_table
from faults.trial import Case, Outcome, run_series
from faults.workspace import REPOSITORY, Workspace, stage_names, workspace


@exit_on_user_error
def main() -> None:
    """Read the command line, run the cases, print the table."""
    options = _options()
    mounts.enter(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was made is removed then, too
    # A shell's background job ignores Ctrl-C, and so would the commands that are to be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cases = _cases(options)
    outcomes = read_outcomes(options.json) if options.json else []
    outcomes = [outcome for outcome in outcomes if not outcome.problems or outcome.case not in cases]  # failed: again
    done = {outcome.case for outcome in outcomes}
    obstacles = {name: FAULTS[name].obstacle for name in FAULTS if FAULTS[name].obstacle}
    todo = [case for case in cases if case not in done and case.fault not in obstacles]
    print(f"faults: seed {options.seed}, {len(cases)} cases, {len(todo)} to do", flush=True)
    if todo:
        with workspace(until=max((case.stage for case in todo), key=stage_names(REPOSITORY).index)) as project:
            print(f"undisturbed: {sum(project.seconds.values()):.0f} s; logs in {project.beside / 'logs'}", flush=True)
            for number, group in enumerate(in_series(todo, options.series), 1):
                outcomes += _run_group(project, group, number)
                if options.json:
                    write_outcomes(options.json, outcomes)
    print(format_table(outcomes, {case.fault: obstacles[case.fault] for case in cases if case.fault in obstacles}))
    sys.exit(any(outcome.problems for outcome in outcomes))


def _run_group(project: Workspace, cases: Sequence[Case], number: int) -> list[Outcome]:
    """The outcomes of a series, with a line each."""
    started = time.monotonic()
    outcomes = run_series(project, cases, [FAULTS[case.fault].strike for case in cases], number)
    for outcome in outcomes:
        case = outcome.case
        said = "; ".join(outcome.problems) or ("too late" if outcome.missed else "recovered")
        print(f"{number}: {case.fault} in {case.stage} (--case {case.seed}): {said}")
    print(f"{number}: {time.monotonic() - started:.0f} s", flush=True)
    return outcomes


def _cases(options: argparse.Namespace) -> list[Case]:
    stages = [name for name in stage_names(REPOSITORY) if not options.stages or name in options.stages]
    cases = draw_cases(options.faults, options.seed, stages, options.only)
    cases = [case for case in cases if options.case in (None, case.seed)]
    if not cases:
        sys.exit("error: no such case; see python -m faults --help for the names of faults, dvc.yaml for the stages")
    return cases


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--faults", type=int, metavar="N", help="how many (default: a full round)")
    parser.add_argument("--seed", type=int, default=0, help="of the order and the moments (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], choices=list(FAULTS), help="this fault; repeatable")
    parser.add_argument("--stages", nargs="+", default=[], metavar="STAGE", help="these stages alone")
    parser.add_argument(
        "--series",
        type=positive,
        default=1,
        metavar="N",
        help="faults that follow one another before the results are compared",
    )
    parser.add_argument("--case", type=int, metavar="SEED", help="one case of the draw again, as the table names it")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the outcomes here; those that recovered are not done again"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
