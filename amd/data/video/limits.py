"""What may be in a video that nobody vouches for. Input: its path, limits. Output: why it is refused, or nothing.

The container and its packets are read, and no frame is decoded beyond the first, which FFmpeg needs to know the
picture's size.
"""

from pathlib import Path
from typing import Protocol

from amd.data.video.probe import Probe, ProbeError, frame_times, probe


class Limits(Protocol):
    """Beyond these a video is refused."""

    @property
    def max_pixels(self) -> int:
        """Of one frame."""

    @property
    def max_frames(self) -> int:
        """Of the video."""

    @property
    def max_minutes(self) -> float:
        """Of the video."""


def refuse_video(path: Path, limits: Limits, whose: str = "") -> str:
    """Why a file is refused by what its container says and holds; empty when it is not.

    Pictures are counted in the packets as well: a container may promise less than it has. `whose` is said before a
    limit's name. Ask in a process with limits of its own: a decoder reads what nobody vouches for.
    """
    try:
        facts = probe(path)
        if not facts.has_video:
            return "no readable video stream (sound only, a cover picture, or a damaged header)"
        if reason := refuse_facts(facts, limits, whose):
            return reason
        times = frame_times(path)
    except ProbeError as error:
        return f"not a readable video ({error.reason})"
    seconds = float(times[-1]) if len(times) else 0.0
    return refuse_facts(Probe(True, frames_promised=len(times), duration_s=seconds), limits, whose)


def refuse_facts(facts: Probe, limits: Limits, whose: str) -> str:
    """Why a video or an image of such facts is refused; empty when it is not."""
    pixels, frames, minutes = facts.width * facts.height, facts.frames_promised or 0, (facts.duration_s or 0.0) / 60
    if pixels > limits.max_pixels:
        return f"{facts.width}x{facts.height} is {pixels} pixels; {whose}max_pixels is {limits.max_pixels}"
    if frames > limits.max_frames:
        return f"{frames} frames; {whose}max_frames is {limits.max_frames}"
    if minutes > limits.max_minutes:
        return f"{minutes:.1f} minutes; {whose}max_minutes is {limits.max_minutes:g}"
    return ""
