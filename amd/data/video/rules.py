"""What may be dropped into an inbox or a page: validates strangers' files, each refusal a sentence that says why.

Input: a path, then the file behind it. Output: the reason to refuse it, or nothing. `refuse_entry` opens nothing, so
that it can be asked of pipes and devices; `refuse_image` reads an image's header. What is in a video is
amd.data.video.limits' to refuse, in a process with limits.
"""

import stat
from pathlib import Path

from amd.config import Inbox
from amd.data.images import image_size
from amd.data.video.limits import refuse_facts
from amd.data.video.probe import Probe
from amd.data.video.sources import VIDEO_SUFFIXES
from amd.runtime.errors import UserError

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso", ".jar", ".lz4"})
OUT_OF_MEMORY = ("allocate", "MemoryError")  # in the words of FFmpeg, torch and NumPy
INBOX = "inbox."  # said before a limit's name
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


def refuse_entry(path: Path, limits: Inbox, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> str:
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
    if reason := refuse_suffix(path.name, suffixes):
        return reason
    if facts.st_size == 0:
        return "an empty file"
    return refuse_bytes(facts.st_size, limits)


def refuse_suffix(name: str, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> str:
    """Why a file is refused by its name's end; empty when it is not."""
    suffix = Path(name).suffix.lower()
    if suffix in ARCHIVES:
        return "an archive; unpack it and drop the videos"
    if suffix not in suffixes:
        kind = "a video" if suffixes == VIDEO_SUFFIXES else "a video or an image"
        return f"not {kind} by its name; formats: {', '.join(sorted(each[1:] for each in suffixes))}"
    return ""


def refuse_bytes(size: int, limits: Inbox) -> str:
    """Why a file of so many bytes is refused; empty when it is not."""
    return f"{size} bytes; inbox.max_bytes is {limits.max_bytes}" if size > limits.max_bytes else ""


def refuse_image(path: Path, limits: Inbox) -> str:
    """Why an image is refused by its header; empty when it is not."""
    try:
        height, width = image_size(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    return refuse_facts(Probe(True, width=width, height=height), limits, INBOX)


def memory_reason(reason: str, limits: Inbox) -> str:
    """Why a program with limits failed; what FFmpeg, torch or NumPy say of memory in words that name the limit."""
    if any(word in reason for word in OUT_OF_MEMORY):
        return f"needs more memory than inbox.memory_mb ({limits.memory_mb}): {reason}"
    return reason
