"""Many inputs of a few bytes each, all different: nine frame folders to one video."""

from pathlib import Path

import numpy as np

from benchmarks.clips import clip

SIDE = 16
VIDEOS_IN = 10  # one input of so many is a video


def make_inputs(folder: Path, first: int, number: int) -> None:
    """Write inputs `first` to `first + number - 1` below `folder`, a thousand to a folder."""
    video = clip(folder.parent / "clip.mp4", 2, 48, 64).read_bytes()
    for index in range(first, first + number):
        place = folder / f"{index // 1000:04d}"
        place.mkdir(parents=True, exist_ok=True)
        if index % VIDEOS_IN == 0:
            _write(place / f"{index:07d}.mp4", video + _free_box(index))
        else:
            _frames(place / f"{index:07d}", index)


def _frames(folder: Path, index: int) -> None:
    """Two grey pictures of noise."""
    folder.mkdir(exist_ok=True)
    for frame, pixels in enumerate(np.random.default_rng(index).integers(0, 256, (2, SIDE, SIDE), np.uint8)):
        _write(folder / f"{frame}.pgm", f"P5 {SIDE} {SIDE} 255\n".encode() + pixels.tobytes())


def _write(path: Path, content: bytes) -> None:
    """Write what is not there yet: a set-up that was interrupted goes on."""
    if not path.exists() or path.stat().st_size != len(content):
        path.write_bytes(content)


def _free_box(index: int) -> bytes:
    """An MP4 box that players skip; it makes the file another."""
    return (16).to_bytes(4, "big") + b"free" + index.to_bytes(8, "big")
