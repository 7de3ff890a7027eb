"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Return when `condition` holds; the test fails when it does not in so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def ended(path: Path) -> bool:
    """Whether the process whose number is in a file is gone."""
    number = int(path.read_text())
    return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE
