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
