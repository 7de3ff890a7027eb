"""What may be in an inbox: validates files dropped by strangers, each refusal a sentence that says why.

Input: a path, then the file behind it. Output: the reason to refuse it, or nothing. `refuse_entry` opens nothing, so
that it can be asked of pipes and devices; `refuse_video` reads the container and its packets and decodes no frame
beyond the first, which FFmpeg needs to know the picture's size. Ask the latter in a process with limits.
"""

import stat
from pathlib import Path

from amd.config import Inbox
from amd.data.video.probe import Probe, ProbeError, frame_times, probe
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


def _refuse_facts(facts: Probe, limits: Inbox) -> str:
    pixels, frames, minutes = facts.width * facts.height, facts.frames_promised or 0, (facts.duration_s or 0.0) / 60
    if pixels > limits.max_pixels:
        return f"{facts.width}x{facts.height} is {pixels} pixels; inbox.max_pixels is {limits.max_pixels}"
    if frames > limits.max_frames:
        return f"{frames} frames; inbox.max_frames is {limits.max_frames}"
    if minutes > limits.max_minutes:
        return f"{minutes:.1f} minutes; inbox.max_minutes is {limits.max_minutes:g}"
    return ""
