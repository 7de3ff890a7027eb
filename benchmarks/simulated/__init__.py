"""The steps of benchmarks.simulation, a module a part; each step is run by `python -m benchmarks.simulated`.

A part's `steps(sizes)` names them; a step without `items` prepares the next and is not reported. Steps run in order,
in the part's own folder.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple


class Sizes(NamedTuple):
    """How much is simulated."""

    inputs: int
    videos: int


@dataclass(frozen=True)
class Step:
    """One step, and what it leaves whose size on disk counts."""

    name: str
    run: Callable[[Sizes], None]  # what was cut short goes on when it is run again
    items: int = 0
    leaves: str | None = None  # a pattern of files
    within: Callable[[], AbstractContextManager] = nullcontext  # a server, say, whose start and end do not count
