"""Permission bits made to bind the tests also where they run as root."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

VERSION = 0x20080522  # of Linux's capability calls: two words for each set
OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Word(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@contextmanager
def permission_bits_bind() -> Iterator[None]:
    """Put aside root's right to read everything, in this thread and those that it starts."""
    if os.geteuid() != 0:
        yield
        return
    words = (Word * 2)()
    _call("capget", words)
    effective = words[0].effective
    words[0].effective &= ~OVERRIDE
    _call("capset", words)
    try:
        yield
    finally:
        words[0].effective = effective
        _call("capset", words)


def _call(name: str, words: ctypes.Array) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(ctypes.byref(Header(VERSION, 0)), words) != 0:
        raise OSError(ctypes.get_errno(), name)
