"""The `amd` command, a module a subject."""

from amd.cli.program import main

__all__ = ["main"]
