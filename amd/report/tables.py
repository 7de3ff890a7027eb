"""Tables of the page from JSON of any evaluation.

Input: nested numbers. Output: heads and rows of text.

Every evaluation's file is shown this way, so that a new one needs no code here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

APART = ("protocol", "published", "skipped", "curve")  # keys of a report that are no results, or only to be drawn
ROWS = 200  # of a table; a data set may have thousands of images
SHOWN = 24  # a longer table is folded away


class Table(NamedTuple):
    """A table whose first column names the rows. Cells are text, as sorting and escaping want it."""

    caption: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left_out: int = 0  # rows

    @property
    def folded(self) -> bool:
        """Whether it is too long to be shown at once."""
        return len(self.rows) > SHOWN

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers alone, or nothing."""
        return tuple(all(_is_number(row[place]) for row in self.rows) for place in range(len(self.head)))


def result_facts(report: Mapping[str, Any]) -> dict[str, str]:
    """The single numbers of an evaluation's file, by name."""
    single = {key: value for key, value in report.items() if not isinstance(value, Mapping | list)}
    return {spoken(key): text(value) for key, value in single.items() if key not in APART}


def result_tables(report: Mapping[str, Any]) -> list[Table]:
    """A table for every group of numbers in an evaluation's file."""
    groups = {key: value for key, value in report.items() if isinstance(value, Mapping | list) and value}
    return [grouped(spoken(key), value) for key, value in groups.items() if key not in APART]


def grouped(caption: str, group: Mapping[str, Any] | Sequence[Any]) -> Table:
    """A row per entry: of a mapping of numbers name and value, of nested ones a column per number."""
    entries = {name: value for name, value in _entries(group) if name not in APART}
    if not any(isinstance(value, Mapping) for value in entries.values()):
        return listed(caption, entries)
    flat = {name: dict(_flat(value)) for name, value in entries.items()}
    columns = list(dict.fromkeys(column for values in flat.values() for column in values))
    rows = [(name, *(text(values.get(column)) for column in columns)) for name, values in flat.items()]
    return Table(caption, ("", *map(spoken, columns)), rows[:ROWS], max(0, len(rows) - ROWS))


def listed(caption: str, values: Mapping[str, Any]) -> Table:
    """Name and value, a row each."""
    rows: list[tuple[str, ...]] = [(spoken(name), text(value)) for name, value in _flat(values)]
    return Table(caption, ("", "value"), rows[:ROWS], max(0, len(rows) - ROWS))


def text(value: Any) -> str:
    """A value as the page shows it; a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or 5e-4 <= abs(value) < 1e4 else f"{value:.2e}"
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return str(value)


def spoken(name: str) -> str:
    """A key of a file in words."""
    return name.replace("_", " ")


def _entries(group: Mapping[str, Any] | Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Name and value; of a list of objects the first value is the name."""
    if isinstance(group, Mapping):
        yield from ((str(name), value) for name, value in group.items())
        return
    for number, entry in enumerate(group):
        if isinstance(entry, Mapping) and entry:
            first, *others = entry.items()
            yield f"{spoken(str(first[0]))} {text(first[1])}", dict(others)
        else:
            yield str(number), entry


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings, their names joined; a mean has its deviation beside it."""
    if not isinstance(value, Mapping):
        yield prefix or "value", value
        return
    if isinstance(value.get("mean"), float) and isinstance(value.get("deviation"), float):  # over seeds
        yield f"{prefix} mean".strip(), f"{text(value['mean'])} ± {text(value['deviation'])}"
        value = {key: inner for key, inner in value.items() if key not in ("mean", "deviation")}
    for key, inner in value.items():
        yield from _flat(inner, f"{prefix} {key}".strip())


def _is_number(cell: str) -> bool:
    try:
        float(cell.partition(" ± ")[0])
    except ValueError:
        return cell in ("–", "")
    return True
