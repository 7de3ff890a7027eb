"""The validation report: what was found among the inputs, for a person to read.

Input: rows of amd.data.tables.MANIFEST. Output: a Markdown file's text, or the same for a terminal.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from amd.data.tables import HELD_OUT
from amd.runtime.errors import printable

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class _Section(NamedTuple):
    """A part of the report: a table under a title."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple]


def validation_report(rows: list[dict]) -> str:
    """Counts, sizes, hours, formats and every reason, as Markdown."""
    facts = "\n".join(f"- {name}: {value}" for name, value in _facts(rows).items())
    tables = (f"## {section.title}\n\n" + _table(section.heads, section.rows) for section in _sections(rows))
    return "\n\n".join(["# Validation of the inputs", facts, *tables]) + "\n"


def terminal_report(rows: list[dict], notes: Iterable[str] = ()) -> str:
    """The same in columns, for a terminal, with `notes` on what was left out."""
    facts = _columns([(f"{name}:", value) for name, value in _facts(rows).items()])
    parts = ["\n".join(facts)]
    for section in _sections(rows):
        lines = _columns([section.heads, *section.rows])
        parts.append("\n".join([section.title, *(f"  {line}" for line in lines)]))
    parts += ["\n".join(printable(note) for note in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def reason_counts(rows: Iterable[dict]) -> list[tuple[str, int]]:
    """How often each kind of rejection occurs, the most frequent first; what is peculiar to one is cut off."""
    kinds = Counter(row["reason"].split(" (")[0].split(" of ")[0] for row in rows if row["status"] == "rejected")
    return kinds.most_common()


def _facts(rows: list[dict]) -> dict[str, str]:
    """What there is of all inputs together."""
    accepted = [row for row in rows if row["status"] == "accepted"]
    rejected = [row for row in rows if row["status"] == "rejected"]
    duplicates = sum(row["reason"].startswith("duplicate of ") for row in rejected)
    held = len(rows) - len(accepted) - len(rejected)
    aside = f"{held} held out, " if held else ""
    moving = sum(row["frames"] - 1 - row["still_pairs"] - row["cuts"] for row in accepted)
    return {
        "inputs": f"{len(rows)}: {len(accepted)} accepted, {aside}{len(rejected)} rejected ({duplicates} duplicates)",
        "hours": f"{sum(row['duration_s'] or 0 for row in accepted) / 3600:.3f} (frame folders have no clock)",
        "frames": f"{sum(row['frames'] for row in accepted)}",
        "size on disk": _bytes(sum(row["bytes"] for row in accepted)),
        "adjacent pairs": f"{moving} moving, {sum(row['still_pairs'] for row in accepted)} still, "
        f"{sum(row['cuts'] for row in accepted)} cuts",
    }


def _sections(rows: list[dict]) -> list[_Section]:
    """The tables of the report; those without a row are left out."""
    accepted = [row for row in rows if row["status"] == "accepted"]
    held = [row for row in rows if row["status"] == HELD_OUT]
    sections = [
        _reasons("Rejected", [row for row in rows if row["status"] == "rejected"]),
        _reasons("Accepted with a warning", [row for row in accepted if row["reason"]]),
        _Section("Held out: models are judged by them", ("input",), [(row["path"],) for row in held]),
        _distributions(accepted),
        _accepted_table(accepted),
    ]
    return [section for section in sections if section.rows]


def _reasons(title: str, rows: list[dict]) -> _Section:
    return _Section(title, ("input", "reason"), [(row["path"], row["reason"]) for row in rows])


def _distributions(accepted: list[dict]) -> _Section:
    heads = ("", "values (videos)")
    if not accepted:
        return _Section("", heads, [])
    edges = sorted(min(row["width"], row["height"]) for row in accepted)
    counts = {
        "size": _counts(accepted, lambda row: f"{row['width']}x{row['height']}"),
        "frames per second": _counts(accepted, lambda row: f"{row['fps']:.4g}" if row["fps"] else "no clock"),
        "codec": _counts(accepted, lambda row: row["codec"]),
        "decoder": _counts(accepted, lambda row: row["decoder"]),
        "rotation": _counts(accepted, lambda row: f"{row['rotation']} degrees"),
    }
    short_edge = f"{edges[0]} to {edges[-1]} px, median {median(edges):g} px"
    return _Section("What the accepted ones are", heads, [("short edge", short_edge), *counts.items()])


def _accepted_table(accepted: list[dict]) -> _Section:
    heads = ("video", "size", "fps", "frames", "promised", "seconds", "still", "cuts", "decoder")
    cells = [
        (
            row["video_id"],
            f"{row['width']}x{row['height']}",
            _number(row["fps"]),
            row["frames"],
            _number(row["frames_promised"]),
            _number(row["duration_s"]),
            row["still_pairs"],
            row["cuts"],
            row["decoder"],
        )
        for row in accepted
    ]
    return _Section("Accepted", heads, cells)


def _counts(rows: list[dict], value: Callable[[dict], str]) -> str:
    counts = sorted(Counter(value(row) for row in rows).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({count})" for name, count in counts)


def _table(heads: tuple, rows: Iterable[tuple]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    """A value that cannot break the table: names come from strangers."""
    text = printable(str(value))
    for special in "\\|`*_<[":
        text = text.replace(special, f"\\{special}")
    return text


def _columns(rows: list[tuple]) -> list[str]:
    """Rows of cells as lines of aligned columns."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _bytes(count: int) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{count} B"
