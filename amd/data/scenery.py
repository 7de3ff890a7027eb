"""Backgrounds of the built-in corpus: sky or wall over ground, with a few large soft things standing there.

Everything is duller and a little less sharp than objects, as behind the focus of a hand-held camera.
`unit` is the size of a pixel of a 256x144 frame.
"""

import cv2
import numpy as np

from amd.data.textures import Pattern, colour, noise, paint

EARTH_HUES = ((0.06, 0.13), (0.18, 0.36), (0.5, 0.65))  # soil and sand, grass, asphalt and water
NEAREST, FARTHEST = 1.3, 0.7  # size of the ground's grain before the camera, and at the horizon


def scenery(
    rng: np.random.Generator, height: int, width: int, horizon: float, unit: float, pattern: Pattern
) -> np.ndarray:
    """A background float32 H,W,3 in [0, 1] whose ground begins at row `horizon`, give or take."""
    image = _backdrop(rng, height, width, unit)
    for _ in range(rng.integers(3, 8)):
        image = _with_structure(rng, image, horizon, unit)
    skyline = horizon + rng.uniform(0.5, 4) * unit * noise(rng, 1, width, 1.5, 80 * unit)[0]
    rows = np.arange(height, dtype=np.float32)[:, None]
    below = np.clip((rows - skyline) / (rng.uniform(1, 5) * unit) + 0.5, 0, 1)[..., None]
    image = image * (1 - below) + _ground(rng, height, width, horizon, unit, pattern) * below
    return np.clip(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.1) * unit), 0, 1)


def _backdrop(rng: np.random.Generator, height: int, width: int, unit: float) -> np.ndarray:
    """Sky or wall: a smooth gradient with faint large clouds or stains."""
    hue, value = rng.uniform(0.5, 0.65) if rng.uniform() < 0.6 else rng.uniform(), rng.uniform(0.6, 0.9)
    top = colour(hue, rng.uniform(0.05, 0.28), value)
    bottom = colour(hue + rng.normal(0, 0.03), rng.uniform(0.02, 0.12), value * rng.uniform(0.85, 1.15))
    fall = np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None], (height, width))
    clouds = rng.uniform(0.04, 0.09) * noise(rng, height, width, 1.6, 90 * unit)
    return paint(fall, top, bottom) * (1 + clouds[..., None])


def _ground(
    rng: np.random.Generator, height: int, width: int, horizon: float, unit: float, pattern: Pattern
) -> np.ndarray:
    """Grass, gravel or paving in perspective: a faint pattern, 1/f detail, and drifts of a second colour."""
    depth = np.clip((np.arange(height) - horizon) / (110 * unit), 0, 1.3)
    size = FARTHEST + (NEAREST - FARTHEST) * depth  # H, of the grain
    along = np.cumsum(1 / size)
    across = np.arange(width)[None] / size[:, None]
    across -= across.min(axis=1, keepdims=True) - (across.max() - across.max(axis=1, keepdims=True)) / 2
    flat = int(along[-1]) + 2, int(across.max()) + 2
    tone = rng.uniform(0.15, 0.35) * (pattern(rng, *flat, rng.uniform(9, 20) * unit) - 0.5)
    tone = tone + 0.1 * noise(rng, *flat, 1.2, 60 * unit) + 0.1 * noise(rng, *flat, 0.6, 6 * unit)
    drift = np.clip(0.5 + 0.4 * noise(rng, *flat, 1.8, 80 * unit), 0, 1)
    low, high = EARTH_HUES[rng.integers(len(EARTH_HUES))]
    value = rng.uniform(0.35, 0.7)
    one, other = (
        colour(rng.uniform(low, high), rng.uniform(0.08, 0.34), value * rng.uniform(0.8, 1.2)) for _ in range(2)
    )
    image = paint(drift, one, other) * np.clip(1 + tone, 0.2, 2)[..., None]
    rows = np.broadcast_to(along[:, None], across.shape).astype(np.float32)
    return cv2.remap(image, across.astype(np.float32), rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _with_structure(rng: np.random.Generator, image: np.ndarray, horizon: float, unit: float) -> np.ndarray:
    """One bush, hill, trunk or wall near the horizon, out of focus, with a ragged or straight outline."""
    height, width = image.shape[:2]
    detail = noise(rng, height, width, 1.3, 30 * unit)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x = (x - rng.uniform(0, width)) / unit
    y = (y - horizon - rng.uniform(-40, 10) * unit) / unit
    if rng.uniform() < 0.55:  # round, ragged
        inside = 1 - np.hypot(x / rng.uniform(25, 80), y / rng.uniform(18, 45)) + 0.12 * detail
        cover = np.clip(0.5 + inside / rng.uniform(0.08, 0.2), 0, 1)
    else:  # upright, leaning a little, down to the ground
        lean = np.abs(x + rng.normal(0, 0.06) * y) - rng.uniform(4, 28)
        inside = -np.maximum(lean, -y - rng.uniform(20, 70))
        cover = np.clip(0.5 + inside / rng.uniform(2, 5), 0, 1)
    hue = rng.uniform(*EARTH_HUES[rng.integers(len(EARTH_HUES))])
    tone = colour(hue, rng.uniform(0.05, 0.28), rng.uniform(0.25, 0.65))
    shape = tone * (1 + 0.16 * detail[..., None]).clip(0.3, 1.7)
    return image + (0.9 * cover)[..., None] * (shape - image)
