"""Memory that is freed stays with the process, since the next training step or image asks for the same again.

glibc gives freed blocks back to the system, which hands them out again page by page, each filled with zeros: a tenth
of the time of small networks' steps (docs/performance.md).
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of glibc's mallopt
LARGEST_KEPT = 32 << 20  # bytes; glibc maps larger blocks one by one whatever it is told
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep blocks that it frees, for itself; for programs, not for libraries inside others'.

    Blocks above 32 MB still go back, so that the peak of a large network hardly changes. False, and without effect,
    where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(TRIM_THRESHOLD, NEVER))
