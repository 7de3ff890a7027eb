"""Freed memory that stays: a program that asks for the same blocks again and again faults no pages for them."""

from projects import python

PROGRAM = """
import platform, resource, sys
from amd.runtime.processes import keep_freed_memory

done = keep_freed_memory() if sys.argv[1] == "kept" else None
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for round in range(12):
    blocks = [b"x" * (20 << 20) for _ in range(4)]
    del blocks
    if round == 1:
        before = faults()
print(faults() - before, done, platform.libc_ver()[0] or "none")
"""


def page_faults(how: str) -> tuple[int, str, str]:
    faults, kept, library = python("-c", PROGRAM, how).stdout.split()
    return int(faults), kept, library


def test_blocks_that_come_again_are_not_asked_of_the_system() -> None:
    faults, kept, library = page_faults("kept")
    if library != "glibc":
        assert kept == "False"
        return
    assert kept == "True"
    pages = 10 * 80 * 256  # of 4 kB in the ten rounds counted
    assert faults < pages / 50
    assert page_faults("as it is")[0] > pages / 2  # what it is there for
