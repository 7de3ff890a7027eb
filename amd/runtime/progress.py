"""Progress with rate and time left, quiet enough for log files."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], label: str, total: int | None = None, unit: str = "it", quiet: bool = False
) -> tqdm:
    """Wrap `items` in a progress line on stderr, none when `quiet`; in a log file one line every 15 seconds."""
    look = {"desc": label, "unit": f" {unit}", "dynamic_ncols": True, "disable": quiet}
    return tqdm(items, total=total, mininterval=0.2 if sys.stderr.isatty() else 15.0, **look)
