"""Prefect's settings of this project, as defaults of the environment; imported before Prefect, which reads it once.

The server of PREFECT_API_URL is used where it is set, else a temporary one on this machine whose state is in the
project's folder. Prefect's own log goes to its server; the console has the lines that flows print.
"""

import os
import sys
from pathlib import Path

import amd  # noqa: F401 - turns telemetry off
from amd.runtime.errors import announce_interrupts

SERVER_START_S = 120  # Prefect's default of 20 s is short on a busy machine
HOME = Path(".amd/prefect").resolve()
DEFAULTS = {
    "PREFECT_HOME": str(HOME),
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(SERVER_START_S),
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # of the tasks of flows.batches
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

announce_interrupts()  # also while Prefect is imported, which takes seconds
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
if os.environ["PREFECT_HOME"] == str(HOME):
    HOME.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder of the path alone


def path() -> str:
    """The search path of programs that a flow starts: this Python's folder first, as DVC's stages say `python`."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
