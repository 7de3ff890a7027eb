"""A mount namespace of this program's own, in which it may make a small disk and a folder that may only be read.

Whoever else runs on the machine does not see those mounts, and the kernel takes them away with the last process of
the program, however that ended. Root has such a namespace for the asking; others where the system lets them be root
in a namespace of users, as most Linux systems do.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

INSIDE = "AMD_FAULTS_MOUNTS"  # in the environment of a program that has its namespace
TRY = 'mount -t tmpfs tmpfs /mnt && exec "$0" -c ""'
REFUSED = "this system lets the user mount nothing, not in a namespace either"


def enter(arguments: Sequence[str]) -> None:
    """Start `python -m faults` with `arguments` anew in its namespace; returns where there is none to be had."""
    if may_mount():
        return
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if _works([*command, "sh", "-c", TRY, sys.executable]):
        os.environ[INSIDE] = "1"
        os.execvp("unshare", [*command, sys.executable, "-m", "faults", *arguments])


def may_mount() -> bool:
    """Whether this program has a namespace for its mounts."""
    return INSIDE in os.environ


def mount_disk(folder: Path, megabytes: int) -> None:
    """A disk of that size in memory, at `folder`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)


def mount_read_only(folder: Path) -> None:
    """Make `folder` one that cannot be written to, by root neither."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """Undo `mount_disk` or `mount_read_only`, in use or not."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def time_namespace(seconds: int) -> tuple[str, ...]:
    """Words before a command that put its boot and monotonic clocks forward; none where the system refuses."""
    words = ("unshare", "--time", f"--boottime={seconds}", f"--monotonic={seconds}", "--")
    return words if _works([*words, "true"]) else ()


def _works(command: Sequence[str]) -> bool:
    found = sys.platform.startswith("linux") and shutil.which(command[0]) is not None
    return found and subprocess.run(command, capture_output=True, check=False).returncode == 0
