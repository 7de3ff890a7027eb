"""What happens in a clip of the built-in corpus: the paths of a hand-held camera and of its objects.

`plan` draws everything random about motion and shapes; amd.data.synthetic.drawing renders it. World coordinates
are pixels of the background; a camera is a similarity 2,3 from world to frame; a `unit` is a pixel at
256x144.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.ndimage import gaussian_filter1d

from amd.data.synthetic import shapes, textures

SPEED = (1.8, 4.0)  # of objects against the background, units per frame
PAIR_SHARE = 0.3  # of the clips show two objects
STILL = 1.3  # units per frame; a plan with more than a few slower steps is drawn again
ATTEMPTS = 40
FOLLOW = (0.0, 0.4)  # share of the objects' motion that the camera takes up: they move more than the scenery
FILL = 0.8  # of the frame's width or height that an object spans at most


@dataclass(frozen=True)
class Style:
    """What a clip may look like; the training and held-out styles share no stream, coat, hue or shape."""

    key: int  # of the random stream
    hues: tuple[float, ...]  # of objects
    coats: tuple[textures.Pattern, ...]
    grounds: tuple[textures.Pattern, ...]
    makers: tuple[shapes.ShapeMaker, ...]


# The keys are arbitrary; these show two objects in 14 of the first 48 and 2 of the first 6 clips of seed 0.
TRAIN = Style(
    key=10,
    hues=tuple(k / 12 for k in range(12)),
    coats=(textures.fractal, textures.stripes, textures.spots),
    grounds=(textures.fractal, textures.bricks, textures.marble),
    makers=(shapes.quadruped, shapes.car, shapes.pebble),
)
HELDOUT = Style(
    key=6,
    hues=tuple((k + 0.5) / 12 for k in range(12)),
    coats=(textures.marble, textures.patches, textures.bricks),
    grounds=(textures.patches, textures.spots, textures.stripes),
    makers=(shapes.bird, shapes.biped, shapes.van),
)


@dataclass(frozen=True)
class Thing:
    """An object's shape and its path through the world."""

    shape: shapes.Shape
    size: float  # pixels per body unit
    facing: int  # 1 right, -1 left
    path: np.ndarray  # T,2 world pixels
    turn: np.ndarray  # T radians
    scale: np.ndarray  # T, about 1


@dataclass(frozen=True)
class Plan:
    """Motion of a clip: where the camera and each object are in every frame."""

    cameras: np.ndarray  # T,2,3 float64, world to frame
    things: tuple[Thing, ...]  # later ones stand in front

    def pose(self, thing: Thing, frame: int) -> np.ndarray:
        """The map 2,3 from body coordinates to frame pixels."""
        turn, size = thing.turn[frame], thing.size * thing.scale[frame]
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        body = np.column_stack([size * rotation @ np.diag([thing.facing, 1]), thing.path[frame]])
        return _compose(self.cameras[frame], body)

    def relative_motion(self, thing: Thing) -> np.ndarray:
        """T-1,2: the object's motion over the background in the next frame, in frame pixels."""
        steps = np.diff(thing.path, axis=0)
        return np.einsum("tij,tj->ti", self.cameras[1:, :, :2], steps)


def unit_of(height: int, width: int) -> float:
    """Pixels of a frame of this size that look as large as one of a 256x144 frame."""
    return float(np.sqrt(height * width / (256 * 144)))


def plan(rng: np.random.Generator, frames: int, height: int, width: int, style: Style) -> Plan:
    """Draw shapes and paths; redrawn while an object stands still against the background for long."""
    unit = unit_of(height, width)
    count = 2 if rng.uniform() < PAIR_SHARE else 1
    best, best_share = None, -1.0
    for _ in range(ATTEMPTS):
        candidate = _draw_plan(rng, frames, height, width, count, style)
        speeds = [np.linalg.norm(candidate.relative_motion(thing), axis=1) for thing in candidate.things]
        share = min(float((speed > STILL * unit).mean()) for speed in speeds)
        if share > best_share:
            best, best_share = candidate, share
        if share >= 0.95:
            break
    return cast(Plan, best)


def _draw_plan(rng: np.random.Generator, frames: int, height: int, width: int, count: int, style: Style) -> Plan:
    unit = unit_of(height, width)
    extent = np.array([width, height])
    heading = rng.uniform(0, 2 * np.pi)
    paths = [_path(rng, frames, heading if rng.uniform() < 0.7 else None, unit) for _ in range(count)]
    homes = [np.zeros(2)]
    if count == 2:
        apart = np.array([rng.uniform(0.17, 0.24) * rng.choice([-1, 1]), rng.uniform(-0.1, 0.1)])
        homes = [-apart * extent, apart * extent]

    middle = np.mean(paths, axis=0)
    room = np.array([0.26, 0.16]) * extent / count
    camera = middle * rng.uniform(*FOLLOW) + walk(rng, frames, 8, 0.02) * extent  # it pans after them, too slowly
    shake = walk(rng, frames, 1.2, 0.7 * unit)
    things = []
    for path, home in zip(paths, homes):
        near = room * np.tanh((path - path.mean(axis=0) - (camera - camera.mean(axis=0))) / room)
        things.append(_thing(rng, camera + near + home, extent, count, style))
    return Plan(_cameras(rng, camera + shake, extent), tuple(things))


def _path(rng: np.random.Generator, frames: int, heading: float | None, unit: float) -> np.ndarray:
    """A world path T,2 that never stops: smooth speed, slowly curling direction, flatter than high."""
    start = rng.uniform(0, 2 * np.pi) if heading is None else heading + rng.normal(0, 0.3)
    curl = rng.choice([-1, 1]) * rng.uniform(0.02, 0.07)
    angle = start + curl * np.arange(frames) + walk(rng, frames, 6, 0.3)[:, 0]
    speed = unit * np.clip(rng.uniform(*SPEED) * (1 + walk(rng, frames, 5, 0.2)[:, 0]), 1.5, 5)
    direction = np.stack([np.cos(angle), 0.6 * np.sin(angle)], axis=1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.cumsum(speed[:, None] * direction, axis=0)


def _thing(rng: np.random.Generator, path: np.ndarray, extent: np.ndarray, count: int, style: Style) -> Thing:
    """A new shape on `path`, of a drawn share of the frame's `extent` (width, height)."""
    frames = len(path)
    shape = style.makers[rng.integers(len(style.makers))](rng)
    area, span = shapes.measure(shape)
    share = rng.uniform(0.08, 0.2) if count == 1 else rng.uniform(0.05, 0.1)
    size = min(np.sqrt(share * extent.prod() / area), (FILL * extent / span).min())
    return Thing(
        shape=shape,
        size=float(size),
        facing=1 if path[-1, 0] >= path[0, 0] else -1,
        path=path,
        turn=walk(rng, frames, 6, 0.1)[:, 0],
        scale=1 + walk(rng, frames, 8, 0.05)[:, 0],
    )


def _cameras(rng: np.random.Generator, centre: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Similarities T,2,3 that bring world point `centre` to the middle, with unsteady roll and zoom."""
    frames = len(centre)
    roll = walk(rng, frames, 3, 0.008)[:, 0]
    zoom = 1 + walk(rng, frames, 6, 0.012)[:, 0]
    linear = np.stack([np.cos(roll), -np.sin(roll), np.sin(roll), np.cos(roll)], axis=1).reshape(-1, 2, 2)
    linear = linear * zoom[:, None, None]
    shift = (extent - 1) / 2 - np.einsum("tij,tj->ti", linear, centre)
    return np.concatenate([linear, shift[..., None]], axis=2)


def walk(rng: np.random.Generator, frames: int, smooth: float, spread: float) -> np.ndarray:
    """Smooth random motion T,2 about 0: white noise of time scale `smooth` frames, std `spread`."""
    pad = int(4 * smooth)
    white = rng.standard_normal((frames + 2 * pad, 2))
    slow = gaussian_filter1d(white, smooth, axis=0)[pad : pad + frames]
    return slow * (spread * np.sqrt(2 * np.sqrt(np.pi) * smooth))


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """outer after inner, all 2,3."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])
