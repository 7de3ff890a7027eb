"""Rendering of a planned clip: scenery through the camera, shaded objects, shadows, lens, light and sensor.

Input: a Plan and a Style (amd.data.synthetic.scenes). Output: frames uint8 T,H,W,3 and label maps uint8 T,H,W.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from amd.data.synthetic import shapes, textures
from amd.data.synthetic.scenes import Plan, Style, unit_of, walk
from amd.data.synthetic.textures import scenery

COAT = 192  # pixels of an object's surface texture, which spans its reach
SHUTTER = 0.4  # of the frame interval that the shutter is open


def draw(rng: np.random.Generator, plan: Plan, height: int, width: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Render every frame of a plan: frames uint8 T,H,W,3, labels uint8 T,H,W (0 background, 1.. objects)."""
    background, origin = _background(rng, plan, height, width, style)
    coats = [_coat(rng, style) for _ in plan.things]
    poses = [np.stack([plan.pose(thing, t) for t in range(len(plan.cameras))]) for thing in plan.things]
    light = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.9, -0.4)])
    film = _Film(rng, len(plan.cameras), height, width)
    frames = np.empty((len(plan.cameras), height, width, 3), np.uint8)
    labels = np.zeros((len(plan.cameras), height, width), np.uint8)
    for index, camera in enumerate(plan.cameras):
        image = _through(camera, background, origin, height, width)
        image = _motion_blur(image, _step(plan.cameras[:, :, 2], index))
        for number, thing in enumerate(plan.things):
            layer = _layer(thing.shape, coats[number], light, poses[number], index, (height, width))
            _paste(image, layer)
            labels[index][layer.box][layer.inside] = number + 1
        frames[index] = film.expose(image, index)
    return frames, labels


@dataclass(frozen=True)
class _Layer:
    """One object in one frame, in the box of the frame that holds it."""

    box: tuple[slice, slice]
    colour: np.ndarray  # h,w,3, multiplied by cover
    cover: np.ndarray  # h,w share of the pixel and of the shutter's time
    shadow: np.ndarray  # h,w share of light taken from the ground
    inside: np.ndarray  # h,w bool, the exact mask


def _background(
    rng: np.random.Generator, plan: Plan, height: int, width: int, style: Style
) -> tuple[np.ndarray, np.ndarray]:
    """Scenery large enough for all that the camera will see, and the world point of its first pixel."""
    unit = unit_of(height, width)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]).T
    seen = [np.linalg.solve(camera[:, :2], corners - camera[:, 2:]) for camera in plan.cameras]
    low, high = np.floor(np.min(seen, axis=(0, 2))) - 2, np.ceil(np.max(seen, axis=(0, 2))) + 2
    columns, rows = (high - low).astype(int)
    footing = np.mean([thing.path[:, 1].mean() for thing in plan.things])  # objects stand on the ground
    horizon = footing - low[1] - rng.uniform(0.0, 0.4) * height
    ground = style.grounds[rng.integers(len(style.grounds))]
    return scenery(rng, rows, columns, horizon, unit, ground), low


def _coat(rng: np.random.Generator, style: Style) -> np.ndarray:
    pattern = style.coats[rng.integers(len(style.coats))]
    hue = style.hues[rng.integers(len(style.hues))]
    return textures.coat(rng, COAT, rng.uniform(0.08, 0.16) * COAT, pattern, hue)


def _through(camera: np.ndarray, background: np.ndarray, origin: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part H,W,3 of the background that a camera sees."""
    shifted = np.column_stack([camera[:, :2], camera[:, :2] @ origin + camera[:, 2]])
    return cv2.warpAffine(background, shifted, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _step(points: np.ndarray, index: int) -> np.ndarray:
    """Velocity at `index` of a path T,2, per frame, by central difference where there are neighbours."""
    before, after = max(index - 1, 0), min(index + 1, len(points) - 1)
    return (points[after] - points[before]) / max(after - before, 1)


def _motion_blur(image: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Average along the way that `step` (pixels per frame) goes while the shutter is open."""
    half = step * SHUTTER / 2
    reach = int(np.ceil(np.abs(half).max())) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for part in np.linspace(-1, 1, 9):
        x, y = reach + part * half
        column, row = int(x), int(y)
        right, down = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - down, down], [1 - right, right])
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _layer(
    shape: shapes.Shape,
    coat: np.ndarray,
    light: np.ndarray,
    poses: np.ndarray,
    index: int,
    extent: tuple[int, int],
) -> _Layer:
    """Render a shape at pose `index` of `poses` (T,2,3: body to frame) into a frame of H,W `extent`."""
    pose = poses[index]
    size = float(np.sqrt(abs(np.linalg.det(pose[:, :2]))))
    box = _box(pose[:, 2], shapes.REACH * size, extent)
    x, y = _body_points(pose, box)
    distance, shade = shapes.field(shape, x, y, index)
    at = (COAT - 1) / 2 * (1 + np.stack([x, y]) / shapes.REACH)
    surface = cv2.remap(coat, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    surface = surface * (shade * _shading(distance, y, size, light))[..., None]
    cover = _coverage(distance)
    blurred = _motion_blur(np.dstack([surface * cover[..., None], cover]), _step(poses[:, :, 2], index))
    return _Layer(box, blurred[..., :3], blurred[..., 3], _shadow(cover, size), distance < 0)


def _box(centre: np.ndarray, reach: float, extent: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a frame within `reach` of `centre` (x, y)."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, extent[::-1]).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _body_points(pose: np.ndarray, box: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Body coordinates x, y of the pixels in a box."""
    rows, columns = np.mgrid[box].astype(np.float32)
    inverse = np.linalg.inv(pose[:, :2]).astype(np.float32)
    dx, dy = columns - np.float32(pose[0, 2]), rows - np.float32(pose[1, 2])
    return inverse[0, 0] * dx + inverse[0, 1] * dy, inverse[1, 0] * dx + inverse[1, 1] * dy


def _paste(image: np.ndarray, layer: _Layer) -> None:
    """Put an object and its shadow into `image`, in place."""
    ground = image[layer.box] * (1 - layer.shadow)[..., None]
    image[layer.box] = ground * (1 - layer.cover)[..., None] + layer.colour


def _coverage(distance: np.ndarray) -> np.ndarray:
    """Share of each pixel inside the outline: distance over its own slope, in pixels."""
    slope = np.hypot(*np.gradient(distance))
    return np.clip(0.5 - distance / np.maximum(slope, 1e-6), 0, 1)


def _shading(distance: np.ndarray, y: np.ndarray, size: float, light: np.ndarray) -> np.ndarray:
    """Brightness of a rounded body under a light from `light` (x, y), with darker limbs and belly."""
    depth = np.clip(-distance / 0.45, 0, 1)
    height = cv2.GaussianBlur(np.sqrt(1 - (1 - depth) ** 2), (0, 0), 0.06 * size)
    slope_y, slope_x = np.gradient(height * 0.5 * size)
    facing = (1 - light[0] * slope_x - light[1] * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    lit = np.maximum(facing, 0) / np.sqrt(1 + light @ light)
    return np.clip(0.45 + 0.65 * lit - 0.1 * np.clip(y, -1, 1), 0.25, 1.25).astype(np.float32)


def _shadow(cover: np.ndarray, size: float) -> np.ndarray:
    """A soft darkening just below the object."""
    down = np.array([[1, 0, 0], [0, 1, 0.18 * size]], np.float32)
    below = cv2.warpAffine(cover, down, cover.shape[::-1])
    return 0.3 * cv2.GaussianBlur(below, (0, 0), 0.16 * size)


class _Film:
    """Lens, light and sensor of one clip: vignette, drifting exposure and tint, noise growing with light."""

    def __init__(self, rng: np.random.Generator, frames: int, height: int, width: int) -> None:
        self.rng = rng
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        self.vignette = (1 - np.float32(rng.uniform(0.05, 0.18)) * (x * x + y * y))[..., None]
        tint = np.concatenate([walk(rng, frames, 12, 0.012), walk(rng, frames, 12, 0.012)[:, :1]], axis=1)
        self.gain = ((1 + walk(rng, frames, 10, 0.04)[:, :1]) * (1 + tint)).astype(np.float32)  # T,3
        self.gamma = (rng.uniform(0.9, 1.1) + walk(rng, frames, 12, 0.02)[:, 0]).astype(np.float32)
        self.dark, self.shot = rng.uniform(0.5, 1.5), rng.uniform(1.0, 3.0)  # grey levels

    def expose(self, image: np.ndarray, index: int) -> np.ndarray:
        """The picture uint8 H,W,3 that the sensor makes of a scene H,W,3 around [0, 1]."""
        exposed = np.clip(image * self.vignette * self.gain[index], 0, 1) ** self.gamma[index]
        sigma = np.sqrt(np.float32(self.dark**2) + np.float32(self.shot**2) * exposed)
        grey = 255 * exposed + sigma * self.rng.standard_normal(exposed.shape, np.float32)
        return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
