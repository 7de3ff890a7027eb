"""What may be dropped into an inbox or a page: validates strangers' files, each refusal a sentence that says why.

Input: a path, then the file behind it. Output: the reason to refuse it, or nothing. `refuse_entry` opens nothing, so
that it can be asked of pipes and devices; `refuse_image` reads an image's header; `refuse_video` reads the container
and its packets and decodes no frame beyond the first, which FFmpeg needs to know the picture's size. Ask the latter
in a process with limits.
"""

import stat
from pathlib import Path

from amd.config import Inbox
from amd.data.images import image_size
from amd.data.video.probe import Probe, ProbeError, frame_times, probe
from amd.data.video.sources import VIDEO_SUFFIXES
from amd.runtime.errors import UserError

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso", ".jar", ".lz4"})
OUT_OF_MEMORY = ("allocate", "MemoryError")  # in the words of FFmpeg, torch and NumPy
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
    return _refuse_facts(Probe(True, width=width, height=height), limits)


def refuse_video(path: Path, limits: Inbox) -> str:
    """Why a file is refused by what its container says and holds; empty when it is not.

    Pictures are counted in the packets as well: a container may promise less than it has.
    """
    try:
        facts = probe(path)
        if not facts.has_video:
            return "no readable video stream (sound only, a cover picture, or a damaged header)"
        if reason := _refuse_facts(facts, limits):
            return reason
        times = frame_times(path)
    except ProbeError as error:
        return f"not a readable video ({error.reason})"
    seconds = float(times[-1]) if len(times) else 0.0
    return _refuse_facts(Probe(True, frames_promised=len(times), duration_s=seconds), limits)


def memory_reason(reason: str, limits: Inbox) -> str:
    """Why a program with limits failed; what FFmpeg, torch or NumPy say of memory in words that name the limit."""
    if any(word in reason for word in OUT_OF_MEMORY):
        return f"needs more memory than inbox.memory_mb ({limits.memory_mb}): {reason}"
    return reason


def _refuse_facts(facts: Probe, limits: Inbox) -> str:
    pixels, frames, minutes = facts.width * facts.height, facts.frames_promised or 0, (facts.duration_s or 0.0) / 60
    if pixels > limits.max_pixels:
        return f"{facts.width}x{facts.height} is {pixels} pixels; inbox.max_pixels is {limits.max_pixels}"
    if frames > limits.max_frames:
        return f"{frames} frames; inbox.max_frames is {limits.max_frames}"
    if minutes > limits.max_minutes:
        return f"{minutes:.1f} minutes; inbox.max_minutes is {limits.max_minutes:g}"
    return ""
