"""Outcomes kept in a JSON file, so that an interrupted round goes on, and several rounds make one table."""

from dataclasses import asdict
from pathlib import Path

from amd.runtime.files import read_json, write_json
from faults.trial import Case, Outcome


def read_outcomes(path: Path) -> list[Outcome]:
    """What `write_outcomes` wrote; nothing where there is no file."""
    if not path.exists():
        return []
    return [
        Outcome(**{**row, "case": Case(**row["case"]), "problems": tuple(row["problems"])}) for row in read_json(path)
    ]


def write_outcomes(path: Path, outcomes: list[Outcome]) -> None:
    """Write all outcomes."""
    write_json(path, [asdict(outcome) for outcome in outcomes])
