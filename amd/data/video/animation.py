"""Animated pictures: which image files are short videos, and the frames of those that FFmpeg does not read.

Input: the path of an image. Output: whether it moves; of an animated WebP or AVIF, which Pillow reads, its facts and
its frames one by one. An animated PNG or HEIC is read by PyAV like a video.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from amd.data.images import MAX_PIXELS

SUFFIXES = frozenset({".webp", ".avif", ".png", ".apng", ".heic", ".heif", ".hif"})  # that hold one picture or many
UNSAID_S = 0.1  # seconds that browsers show a frame of duration 0
PNG_START = b"\x89PNG\r\n\x1a\n"
HEIC_SEQUENCES = (b"ftyphevc", b"ftyphevx", b"ftypmsf1")
HEAD = 32  # bytes that tell WebP, AVIF and HEIC


class AnimationError(Exception):
    """An animation that cannot be read on; the text says why, without the path."""


@dataclass(frozen=True)
class AnimationFacts:
    """What there is of an animation."""

    codec: str  # webp, avif
    width: int
    height: int
    times: tuple[float, ...]  # seconds from the first frame to each
    duration_s: float


def is_animated(path: Path) -> bool:
    """Whether a file holds more than one picture to be shown in turn, by its header alone; False where unreadable."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            if head.startswith(PNG_START):
                file.seek(len(PNG_START))
                return _png_is_animated(file)
            return _is_webp(head) or _is_avif(head) or _is_heic_sequence(head)
    except OSError:
        return False


def needs_pillow(path: Path) -> bool:
    """Whether a file is an animated WebP or AVIF: FFmpeg gives one frame of them, or none."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return _is_webp(head) or _is_avif(head)


def animation_facts(path: Path) -> AnimationFacts:
    """The facts of an animated WebP or AVIF, all frames of which are looked at; AnimationError where none is whole."""
    times, end = [], 0.0
    try:
        with Image.open(path) as image:
            codec, width, height = (image.format or "").lower(), image.width, image.height
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise AnimationError(_text(error)) from None
    try:
        for _, seconds in _frames(path):
            times.append(end)
            end += seconds
    except AnimationError:
        if not times:
            raise
    return AnimationFacts(codec, width, height, tuple(times), end)


def animation_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of an animated WebP or AVIF, uint8 RGB H,W,3; AnimationError after the good ones."""
    for image, _ in _frames(path):
        yield np.array(image.convert("RGB"))


def _frames(path: Path) -> Iterator[tuple[Image.Image, float]]:
    """Every frame with the seconds that it is shown."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise AnimationError(f"{image.width}x{image.height} pixels, more than the {MAX_PIXELS} that are read")
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()
                yield image, image.info.get("duration", 0) / 1000 or UNSAID_S
    except AnimationError:
        raise
    except Exception as error:
        raise AnimationError(_text(error)) from None


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 0x02)


def _is_avif(head: bytes) -> bool:
    return head[4:12] == b"ftypavis"


def _is_heic_sequence(head: bytes) -> bool:
    return head[4:12] in HEIC_SEQUENCES


def _png_is_animated(file) -> bool:
    """Whether the chunk acTL stands before the picture's data, as the format asks for."""
    while len(header := file.read(8)) == 8:
        kind = header[4:]
        if kind in (b"acTL", b"IDAT"):
            return kind == b"acTL"
        file.seek(int.from_bytes(header[:4], "big") + 4, 1)  # its content and its checksum
    return False


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
