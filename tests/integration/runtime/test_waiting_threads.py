"""Programs of the command and of flows compute in threads that wait without spinning, unless they are told to."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("program", "told", "expected"),
    [
        ("import flows.tasks", {}, "passive"),
        ("import flows.tasks", {"OMP_WAIT_POLICY": "active"}, "active"),
        ("from amd.cli import main; main(['--print-completion', 'bash'])", {}, "passive"),
    ],
)
def test_threads_wait_without_spinning_unless_told_otherwise(program: str, told: dict[str, str], expected: str) -> None:
    ours = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    text = f"import atexit, os; atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'])); {program}"
    done = subprocess.run([sys.executable, "-c", text], env=ours | told, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected
