"""How many threads a command takes: as many as cores of its own are free."""

import math
import os
import time
from collections.abc import Callable
from types import SimpleNamespace

import psutil
import pytest

from amd.runtime import processes
from amd.runtime.processes import free_threads


@pytest.mark.parametrize(
    ("cores", "busy", "free"),
    [
        ({0, 1, 2, 3}, [0, 0, 0, 0], 4),
        ({0, 1, 2, 3}, [100, 100, 10, 5], 2),
        ({2, 3}, [100, 100, 0, 0], 2),  # of this process's own cores none is taken
        ({0, 1}, [100, 0, 0, 0], 1),
        ({0, 1}, [100, 100, 0, 0], 1),  # at least one
    ],
)
def test_threads_are_the_cores_of_this_process_that_are_free(
    cores: set[int], busy: list[float], free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    idle: Callable[[float], SimpleNamespace] = lambda share: SimpleNamespace(idle=time.monotonic() * (1 - share / 100))
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [idle(share) for share in busy])
    monkeypatch.setattr(processes, "_BEGUN", processes._BEGUN._replace(moment=-math.inf))  # too long ago
    assert free_threads() == free
