"""Clips to decode, drawn from a seed; without torch, which the processes of sharding do not load either."""

from pathlib import Path

import cv2
import numpy as np

from amd.data.synthetic.clips import encode, render_clip


def frames(number: int, height: int, width: int) -> np.ndarray:
    """A clip of the built-in corpus's kind, uint8 number,height,width,3; drawn small and enlarged, with grain."""
    drawn, _ = render_clip(0, max(2, min(number, 24)), 144, 256)
    rng = np.random.default_rng(0)
    grain = rng.integers(-6, 7, (height, width, 1), dtype=np.int16)
    large = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in drawn]
    grainy = [np.clip(frame + np.roll(grain, 7 * n, 1), 0, 255).astype(np.uint8) for n, frame in enumerate(large)]
    there_and_back = grainy + grainy[-2:0:-1]  # no cut where the clip starts again
    return np.stack([there_and_back[n % len(there_and_back)] for n in range(number)])


def clip(path: Path, number: int, height: int, width: int) -> Path:
    """An H.264 video of `frames`; made once."""
    if not path.exists():
        encode(path, frames(number, height, width), 24.0)
    return path
