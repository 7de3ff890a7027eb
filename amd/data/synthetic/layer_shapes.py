"""Outlines of layers: objects with limbs, poles, clutter at the border, bushes and foliage.

Each is a cover float32 in [0, 1] of the frame's size with MARGIN more on every side, since layers move.
"""

import cv2
import numpy as np

MARGIN = 48  # pixels around the frame
SHIFT = 4  # binary digits of a pixel in OpenCV's coordinates of polygons


def object_shape(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """An irregular blob with none to five limbs, 0.4 to 30 % of the frame in area, and its extent in pixels."""
    height, width = size
    area = np.exp(rng.uniform(np.log(0.004), np.log(0.3))) * height * width
    radius = np.sqrt(area / np.pi)
    centre = np.array([rng.normal(0.5, 0.2) * width, rng.normal(0.55, 0.2) * height])
    centre = np.clip(centre, 0, (width, height))
    stretch = np.exp(rng.normal(0, 0.35))
    canvas = _canvas(size)
    _fill(canvas, _outline(rng, radius, stretch, rng.uniform(0.05, 0.3)) + centre)
    for _ in range(rng.integers(0, 6)):
        _limb(rng, canvas, centre, radius)
    return _smooth(canvas, 0.6), float(radius)


def pole(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A trunk or post across the whole frame, mostly upright."""
    height, width = size
    thickness = np.exp(rng.uniform(np.log(3), np.log(0.12 * width)))
    angle = rng.normal(np.pi / 2, 0.15) if rng.random() < 0.8 else rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * 2 * width
    across = np.array([-np.sin(angle), np.cos(angle)]) * thickness / 2
    middle = rng.uniform(0, 1, 2) * (width, height)
    taper = rng.uniform(0.6, 1)
    corners = [middle - along - across, middle - along + across, middle + along + across * taper]
    canvas = _canvas(size)
    _fill(canvas, np.array([*corners, middle + along - across * taper]))
    return _smooth(canvas, 0.6)


def clutter(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A blob that reaches in from the frame's border."""
    height, width = size
    side = rng.integers(4)
    at = rng.uniform(0, 1)
    centre = np.array([(at, 1.0), (at, 0.0), (0.0, at), (1.0, at)][side]) * (width, height)
    radius = np.exp(rng.uniform(np.log(0.08), np.log(0.5))) * height
    canvas = _canvas(size)
    _fill(canvas, _outline(rng, radius, np.exp(rng.normal(0, 0.5)), rng.uniform(0.05, 0.35)) + centre)
    return _smooth(canvas, 0.6)


def bush(rng: np.random.Generator, size: tuple[int, int], reach: float | None = None) -> np.ndarray:
    """A blob anywhere, of radius `reach` frame heights (drawn at random when None)."""
    height, width = size
    radius = (reach or np.exp(rng.uniform(np.log(0.06), np.log(0.4)))) * height
    canvas = _canvas(size)
    centre = rng.uniform(0, 1, 2) * (width, height)
    _fill(canvas, _outline(rng, radius, np.exp(rng.normal(0, 0.4)), rng.uniform(0.05, 0.4)) + centre)
    return _smooth(canvas, 0.6)


def foliage(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A blob or a border full of holes: leaves, a fence, branches."""
    whole = (clutter, bush)[rng.integers(2)](rng, size)
    grain = np.exp(rng.uniform(np.log(3), np.log(14)))
    rows, columns = (int(np.ceil(edge / grain)) + 2 for edge in whole.shape)
    field: np.ndarray = rng.standard_normal((rows, columns)).astype(np.float32)
    field = cv2.resize(field, whole.shape[::-1], interpolation=cv2.INTER_CUBIC)
    holes = np.clip(0.5 + (field - rng.uniform(-0.6, 0.5)) * grain / 3, 0, 1)
    return (whole * holes).astype(np.float32)


def _canvas(size: tuple[int, int]) -> np.ndarray:
    return np.zeros((size[0] + 2 * MARGIN, size[1] + 2 * MARGIN), np.uint8)


def _outline(rng: np.random.Generator, radius: float, stretch: float, roughness: float) -> np.ndarray:
    """Points 64,2 around the origin: a circle with waves of falling amplitude, stretched and turned."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.zeros(64)
    for number in range(1, 9):
        waves += rng.normal(0, roughness / number**0.8) * np.cos(number * angles + rng.uniform(0, 2 * np.pi))
    reach = radius * np.exp(np.clip(waves, -1.2, 0.9))
    points = np.stack([reach * np.cos(angles) * stretch, reach * np.sin(angles) / stretch], axis=1)
    turn = rng.uniform(0, np.pi)
    return points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _limb(rng: np.random.Generator, canvas: np.ndarray, centre: np.ndarray, radius: float) -> None:
    """An arm, leg or tail of two parts, thinner outwards."""
    angle = rng.uniform(0, 2 * np.pi)
    start = centre + 0.6 * radius * np.array([np.cos(angle), np.sin(angle)])
    thickness = radius * rng.uniform(0.1, 0.45)
    for _ in range(2):
        angle += rng.normal(0, 0.5)
        end = start + radius * rng.uniform(0.4, 1.1) * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(round(value + MARGIN) for value in point) for point in (start, end)]
        cv2.line(canvas, ends[0], ends[1], 255, max(1, round(thickness)), cv2.LINE_AA)
        start, thickness = end, 0.75 * thickness


def _fill(canvas: np.ndarray, points: np.ndarray) -> None:
    fixed = np.round((points + MARGIN) * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [fixed[:, None]], 255, cv2.LINE_AA, SHIFT)


def _smooth(canvas: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), sigma)
