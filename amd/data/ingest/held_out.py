"""Videos set aside to judge models by: never trained on, chosen by what is in them.

Input: the rows of a manifest. Output: the status HELD_OUT on some of the accepted ones, those whose SHA-256 is
smallest. So a video's name and place do not matter, and once videos are held out, adding more puts none that was
trained on among them; where fewer than LEAST fall below the share, a new one may take another's place.
"""

from collections.abc import Iterable
from pathlib import Path

from amd.data.tables import HELD_OUT, MANIFEST, read_table

LEAST = 2  # of one video nothing can be said
JUDGES = 12  # videos at most that say when a training ends
ENOUGH = 6  # accepted videos, below which all are trained on
DIGITS = 8  # of a SHA-256 that are compared with the share


def hold_out(rows: Iterable[dict], share: float) -> None:
    """Set this share of the accepted rows aside, LEAST of them at the least; none of fewer than ENOUGH."""
    accepted = sorted((row for row in rows if row["status"] == "accepted"), key=lambda row: row["sha256"])
    if not share or len(accepted) < ENOUGH:
        return
    for place, row in enumerate(accepted):
        if place < LEAST or int(row["sha256"][:DIGITS], 16) < share * 16**DIGITS:
            row["status"] = HELD_OUT


def held_out(manifest: Path, most: int) -> list[dict]:
    """The rows that were set aside, at most so many: those of the smallest hashes. UserError as of read_table."""
    rows = [row for row in read_table(manifest, MANIFEST) if row["status"] == HELD_OUT]
    return sorted(rows, key=lambda row: row["sha256"])[:most]
