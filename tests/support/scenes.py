"""A textured disc that moves before a background that pans: motion evidence finds it."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH, FRAMES = 120, 160, 14


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """A picture with detail at several sizes, uint8 H,W,3."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (height // grain, width // grain, 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for grain in (2, 6, 20)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def scene(moving: bool, panning: float = 0.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames with a textured disc that moves or not, before a background that pans; and the disc's masks."""
    background, thing = texture(0, HEIGHT, 2 * WIDTH), texture(1, HEIGHT, WIDTH)
    thing[..., 0] = 230
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames, truth = [], []
    for number in range(FRAMES):
        left = round(panning * number)
        place = 40 + (4 * number if moving else -left)
        disc = (rows - 60) ** 2 + (columns - place) ** 2 < 24**2
        frame = background[:, left : left + WIDTH].copy()
        shifted = np.roll(thing, place, axis=1)
        frame[disc] = shifted[disc]
        frames.append(frame)
        truth.append(disc)
    return frames, truth
