"""Progress with rate and time left, quiet enough for log files."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> tqdm:
    """Wrap `items` in a progress line on stderr; in a log file one line every 15 seconds."""
    interval = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(items, desc=label, total=total, unit=f" {unit}", mininterval=interval, dynamic_ncols=True)
