"""The table of a round: fault, times tried, outcome; and what went wrong where it did."""

from collections.abc import Sequence

from faults.catalogue import FAULTS
from faults.trial import Outcome

HEAD = ("fault", "tried", "stages", "ended the run", "recovered", "DVC mended", "too late", "failed", "what is done")


def format_table(outcomes: Sequence[Outcome], skipped: dict[str, str]) -> str:
    """A row per fault in Markdown, and a line per problem. `skipped` has the reasons of faults not tried."""
    rows = [_row(name, found) for name in FAULTS if (found := [each for each in outcomes if each.case.fault == name])]
    rows.append(_row("total", outcomes))
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *map(_line, rows)]
    lines += [f"{name}: not tried: {reason}" for name, reason in skipped.items()]
    return "\n".join(lines + problems(outcomes))


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """A line per problem, with the case that shows it."""
    return [
        f"FAILED {each.case.fault} in {each.case.stage} (--case {each.case.seed}): {problem} [{each.log}]"
        for each in outcomes
        for problem in each.problems
    ]


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    failed = sum(bool(each.problems) for each in outcomes)
    late = sum(each.missed for each in outcomes)
    counts = (
        len(outcomes),
        len({each.case.stage for each in outcomes}),
        sum(each.status not in (0, None) for each in outcomes),
        len(outcomes) - failed - late,
        sum(each.mended for each in outcomes),
        late,
        failed,
    )
    what = (FAULTS[name].strike.__doc__ or "").splitlines()[0].rstrip(".") if name in FAULTS else ""
    return [name, *map(str, counts), what]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
