"""The table of a run: lines for a terminal, and CSV from a JSON file.

python -m benchmarks.table .amd/bench.json > docs/data/performance.csv      # the table of docs/performance.md
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import read_json

HEAD = ("Subject", "Case", "Median", "Rate", "Ratio (quartiles)", "Against", "Target")
HEADER = f"{'subject':15} {'case':74} {'median':>9} {'rate':>17} {'ratio':>6} {'quartiles':>11}  target  against"


def line(row: dict[str, Any]) -> str:
    """One row for a terminal."""
    ratio, spread = _ratio(row)
    start = (
        f"{row['subject']:15} {row['case']:74} {_amount(row['measured']['median'], row['unit']):>9} {_rate(row):>17}"
    )
    return f"{start} {ratio:>6} {spread:>11}  {_target(row):6}  {row['against']}".rstrip()


def measured_on(report: dict[str, Any]) -> str:
    """The machine, the versions and the commit in a line."""
    machine = report["machine"]
    units = ", ".join(machine["matrix_units"])
    threads = f"{report['torch_threads']} threads, {machine['memory_gb']} GB"
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    where = (
        f"{machine['gpu'] or machine['cpu']} ({units}), {threads}; load {report['load_average'][0]:.2f} at the start"
    )
    return f"{where}. {versions}. Commit {report['commit']}, {report['date'][:10]}."


def cells(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The head of the table, and a tuple for every row."""
    yield HEAD
    for row in report["rows"]:
        ratio, spread = _ratio(row)
        subject, amount = row["subject"].replace("_", " "), _amount(row["measured"]["median"], row["unit"])
        told = f"{ratio} ({spread})" if spread else ratio
        yield (subject, row["case"], amount, _rate(row), told, row["against"], _target(row))


def _amount(value: float, unit: str) -> str:
    if unit == "s" and value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}".strip()


def _rate(row: dict[str, Any]) -> str:
    if not row["rate"]:
        return ""
    three_digits = float(f"{row['rate']:.3g}")
    return f"{three_digits:,g} {row['item']}/s"


def _ratio(row: dict[str, Any]) -> tuple[str, str]:
    """The ratio and its quartiles; empty where there is none, or one measurement alone."""
    if row["ratio"] is None:
        return "", ""
    ratio = row["ratio"]
    spread = f"{ratio['lower']:.2f}–{ratio['upper']:.2f}" if ratio["repeats"] > 1 else ""
    return f"{ratio['median']:.2f}", spread


def _target(row: dict[str, Any]) -> str:
    return "" if row["target"] is None else f"{row['target']:g} {'met' if row['met'] else 'missed'}"


@exit_on_user_error
def main() -> None:
    """Print the CSV of a JSON file, and on the error stream what it was measured on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="what `python -m benchmarks --json FILE` wrote")
    report = read_json(parser.parse_args().json)
    print(measured_on(report), file=sys.stderr)
    csv.writer(sys.stdout, lineterminator="\n").writerows(cells(report))


if __name__ == "__main__":
    main()
