"""What may be in an inbox: validates files dropped by strangers, each refusal a sentence that says why.

Input: a path. Output: the reason to refuse it, or nothing. Nothing is opened here, so that pipes and devices may be
asked of; what is in a video is amd.data.video.limits' to refuse, in a process with limits.
"""

import stat
from pathlib import Path

from amd.config import Inbox
from amd.data.video.sources import VIDEO_SUFFIXES

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso", ".jar", ".lz4"})
NAME_BYTES = 200  # file systems take 255, and results need some for themselves


def refuse_name(name: str) -> str:
    """Why a name is refused; empty when it is not."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8; rename it"
    if "/" in name or "\\" in name or ".." in name:
        return "a name with a separator or with '..'; rename it"
    if not name.isprintable():
        return "a name with control characters; rename it"
    if len(encoded) > NAME_BYTES:
        return f"a name of {len(encoded)} bytes; give it one of at most {NAME_BYTES}"
    return ""


def refuse_entry(path: Path, limits: Inbox) -> str:
    """Why something is refused by its kind, its suffix or its size; empty when it is not."""
    facts = path.lstat()  # of a link itself
    if stat.S_ISLNK(facts.st_mode):
        return "a symbolic link; drop the file itself"
    if stat.S_ISDIR(facts.st_mode):
        return "a folder; drop videos one by one"
    if not stat.S_ISREG(facts.st_mode):
        return "not a regular file but a pipe, a socket or a device"
    if facts.st_nlink > 1:
        return "a file that has another name elsewhere (a hard link); drop a copy"
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return "an archive; unpack it and drop the videos"
    if suffix not in VIDEO_SUFFIXES:
        return f"not a video by its name; formats: {', '.join(sorted(each[1:] for each in VIDEO_SUFFIXES))}"
    if facts.st_size == 0:
        return "an empty file"
    if facts.st_size > limits.max_bytes:
        return f"{facts.st_size} bytes; inbox.max_bytes is {limits.max_bytes}"
    return ""
