"""Procedural textures: random patterns, their colours, and the coats of objects, drawn from one generator.

A pattern is a float32 field H,W in [0, 1]; `paint` turns it into colours. Sizes of grain are in pixels.
"""

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

Pattern = Callable[[np.random.Generator, int, int, float], np.ndarray]

WARP = 0.5  # grains that noise bends straight patterns by


def noise(rng: np.random.Generator, height: int, width: int, slope: float, coarsest: float) -> np.ndarray:
    """Gaussian noise of amplitude spectrum 1/f^slope above a period of `coarsest` pixels; mean 0, std 1."""
    rows, columns = cv2.getOptimalDFTSize(height), 2 * cv2.getOptimalDFTSize((width + 1) // 2)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns)))
    field = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / coarsest) ** slope, s=(rows, columns))
    field = field[:height, :width]
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def squash(field: np.ndarray, sharpness: float = 1.0) -> np.ndarray:
    """Map a field around 0 to [0, 1]; a high sharpness gives two flat tones with soft borders."""
    return 0.5 + 0.5 * np.tanh(sharpness * field)


def fractal(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Fur, grass, plaster: detail at every scale."""
    return squash(noise(rng, height, width, 1.1, 4 * grain), 0.7)


def stripes(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Bands of one direction, bent by noise."""
    x, y = _warped_grid(rng, height, width, grain, WARP)
    angle = rng.uniform(0, np.pi)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / grain)
    return squash(np.sin(phase), 2.0)


def spots(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Dark islands of one size: the peaks of band-limited noise."""
    fine = cv2.GaussianBlur(noise(rng, height, width, 0.0, grain), (0, 0), grain / 5)
    coarse = cv2.GaussianBlur(fine, (0, 0), grain / 3)
    band = fine - coarse
    return squash(band / (band.std() + 1e-9) - 0.4, 2.0)


def marble(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Veins: the folds of a strongly bent wave."""
    x, y = _warped_grid(rng, height, width, grain, 1.4)
    angle = rng.uniform(0, np.pi)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * (np.pi / grain)
    return 1 - np.abs(np.sin(phase)) ** 0.6


def bricks(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Courses of blocks with joints, each block of its own tone, on a bent grid."""
    x, y = _warped_grid(rng, height, width, 3 * grain, 0.15)
    row = np.floor(y / grain)
    column = np.floor(x / (2 * grain) + 0.5 * (row % 2))
    tones = rng.uniform(0.35, 1.0, 997).astype(np.float32)
    tone = tones[((row * 131 + column * 17) % 997).astype(int)]
    across = np.abs(x / (2 * grain) + 0.5 * (row % 2) - column - 0.5) * 2  # 0 in the middle, 1 at joints
    along = np.abs(y / grain - row - 0.5) * 2
    joint = np.maximum((across - 0.88) / 0.12, (along - 0.76) / 0.24)
    return tone * (1 - 0.7 * np.clip(joint, 0, 1))


def patches(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Cells of flat tone with bent borders (cow hide, paving, fields)."""
    x, y = _warped_grid(rng, height, width, grain, 0.3)
    spacing = 1.5 * grain
    rows, columns = int(height / spacing) + 3, int(width / spacing) + 3
    sites_y = (np.arange(rows)[:, None] - 1 + rng.uniform(0, 1, (rows, columns))).astype(np.float32)
    sites_x = (np.arange(columns)[None] - 1 + rng.uniform(0, 1, (rows, columns))).astype(np.float32)
    tones = rng.uniform(0, 1, (rows, columns)).astype(np.float32)
    return _nearest_tone(x / spacing, y / spacing, sites_x, sites_y, tones)


def _nearest_tone(
    x: np.ndarray, y: np.ndarray, sites_x: np.ndarray, sites_y: np.ndarray, tones: np.ndarray
) -> np.ndarray:
    """Tone of the nearest site, one site per cell of the grid: only the 9 cells around can hold it."""
    rows, columns = tones.shape
    row, column = np.floor(y).astype(int) + 1, np.floor(x).astype(int) + 1
    best, tone = np.full(x.shape, np.inf, np.float32), np.zeros(x.shape, np.float32)
    for step in range(9):
        r = np.clip(row + step // 3 - 1, 0, rows - 1)
        c = np.clip(column + step % 3 - 1, 0, columns - 1)
        distance = (x - sites_x[r, c]) ** 2 + (y - sites_y[r, c]) ** 2
        closer = distance < best
        best, tone = np.where(closer, distance, best), np.where(closer, tones[r, c], tone)
    return tone


def _warped_grid(
    rng: np.random.Generator, height: int, width: int, grain: float, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates x, y (each H,W), bent by smooth noise of `strength` grains."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = strength * grain
    return (
        x + bend * noise(rng, height, width, 2.0, 4 * grain),
        y + bend * noise(rng, height, width, 2.0, 4 * grain),
    )


def colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB float32 of a colour given as hue, saturation and value, each in [0, 1] (hue wraps)."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1)), np.float32)


def paint(pattern: np.ndarray, dark: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Colours H,W,3 between `dark` (pattern 0) and `light` (pattern 1), each RGB."""
    return dark + pattern[..., None] * (light - dark)


def coat(rng: np.random.Generator, size: int, grain: float, pattern: Pattern, hue: float) -> np.ndarray:
    """An object's surface, size x size x 3: two tones of `hue` in a pattern, over fine detail."""
    saturation, value = rng.uniform(0.5, 0.8), rng.uniform(0.6, 0.95)
    light = colour(hue + rng.normal(0, 0.015), saturation * rng.uniform(0.75, 1), value)
    dark = colour(hue + rng.normal(0, 0.03), saturation, value * rng.uniform(0.4, 0.7))
    surface = paint(pattern(rng, size, size, grain), dark, light)
    detail = noise(rng, size, size, 0.8, grain)
    return np.clip(surface * (1 + 0.1 * detail[..., None]), 0, 1)


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
