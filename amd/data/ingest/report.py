"""The validation report: what was found among the inputs, in Markdown that a person reads.

Enters: rows of amd.data.tables.MANIFEST. Leaves: the text of a Markdown file.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from statistics import median

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def validation_report(rows: list[dict]) -> str:
    """Counts, sizes, hours, formats and every reason, as Markdown."""
    accepted = [row for row in rows if row["status"] == "accepted"]
    rejected = [row for row in rows if row["status"] == "rejected"]
    parts = [
        "# Validation of the inputs",
        _summary(rows, accepted, rejected),
        _reasons("Rejected", rejected),
        _reasons("Accepted with a warning", [row for row in accepted if row["reason"]]),
        _distributions(accepted),
        _accepted_table(accepted),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def reason_counts(rows: Iterable[dict]) -> list[tuple[str, int]]:
    """How often each kind of rejection occurs, the most frequent first; what is peculiar to one is cut off."""
    kinds = Counter(row["reason"].split(" (")[0].split(" of ")[0] for row in rows if row["status"] == "rejected")
    return kinds.most_common()


def _summary(rows: list[dict], accepted: list[dict], rejected: list[dict]) -> str:
    duplicates = sum(row["reason"].startswith("duplicate of ") for row in rejected)
    moving = sum(row["frames"] - 1 - row["still_pairs"] - row["cuts"] for row in accepted)
    facts = {
        "inputs": f"{len(rows)}: {len(accepted)} accepted, {len(rejected)} rejected ({duplicates} duplicates)",
        "hours": f"{sum(row['duration_s'] or 0 for row in accepted) / 3600:.3f} (frame folders have no clock)",
        "frames": f"{sum(row['frames'] for row in accepted)}",
        "size on disk": _bytes(sum(row["bytes"] for row in accepted)),
        "adjacent pairs": f"{moving} moving, {sum(row['still_pairs'] for row in accepted)} still, "
        f"{sum(row['cuts'] for row in accepted)} cuts",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _reasons(title: str, rows: list[dict]) -> str:
    if not rows:
        return ""
    return f"## {title}\n\n" + _table(("input", "reason"), ((row["path"], row["reason"]) for row in rows))


def _distributions(accepted: list[dict]) -> str:
    if not accepted:
        return ""
    edges = sorted(min(row["width"], row["height"]) for row in accepted)
    counts = {
        "size": _counts(accepted, lambda row: f"{row['width']}x{row['height']}"),
        "frames per second": _counts(accepted, lambda row: f"{row['fps']:.4g}" if row["fps"] else "no clock"),
        "codec": _counts(accepted, lambda row: row["codec"]),
        "decoder": _counts(accepted, lambda row: row["decoder"]),
        "rotation": _counts(accepted, lambda row: f"{row['rotation']} degrees"),
    }
    short_edge = f"{edges[0]} to {edges[-1]} px, median {median(edges):g} px"
    rows = [("short edge", short_edge), *counts.items()]
    return "## What the accepted ones are\n\n" + _table(("", "values (videos)"), rows)


def _accepted_table(accepted: list[dict]) -> str:
    if not accepted:
        return ""
    heads = ("video", "size", "fps", "frames", "promised", "seconds", "still", "cuts", "decoder")
    cells = (
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
    )
    return "## Accepted\n\n" + _table(heads, cells)


def _counts(rows: list[dict], value: Callable[[dict], str]) -> str:
    counts = Counter(value(row) for row in rows)
    return ", ".join(
        f"{name} ({count})" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _table(heads: tuple, rows: Iterable[tuple]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    """A value that cannot break the table: names come from strangers."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    for special in "\\|`*_<[":
        text = text.replace(special, f"\\{special}")
    return text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _bytes(count: int) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{count} B"
