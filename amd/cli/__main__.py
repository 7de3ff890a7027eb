"""`python -m amd.cli` is `amd`."""

from amd.cli.program import main

main()
