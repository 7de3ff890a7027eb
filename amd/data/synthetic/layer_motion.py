"""How layers move: a camera before a scene with depth, scenery at other depths, and objects on their own.

A motion maps pixels of the frame at time t back to the frame at time 0. Lengths are pixels of a frame 240 high, scaled
with the frame; times are frames from the middle one.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

HEIGHT = 240.0  # of the frame that lengths are given for


@dataclass(frozen=True)
class Motion:
    """Shift, turn and zoom about a centre, each with a speed and a change of speed, and smooth fields besides."""

    size: tuple[int, int]
    shift: np.ndarray  # 2 (x, y) pixels a frame
    more_shift: np.ndarray  # 2, pixels a frame and frame
    turn: float = 0.0  # radians a frame
    zoom: float = 0.0  # of the size, logarithmic, a frame
    centre: tuple[float, float] = (0.0, 0.0)
    relief: np.ndarray | None = None  # H,W: factor on shift and zoom, from depth
    swaying: tuple[tuple[np.ndarray, float, float], ...] = field(default=())  # (field H,W,2, speed, phase)

    def maps(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """x and y float32 H,W: where each pixel of the frame at `time` is in the frame at time 0."""
        height, width = self.size
        y, x = np.mgrid[:height, :width].astype(np.float32)
        if time == 0:
            return x, y
        shift = self.shift * time + 0.5 * self.more_shift * time * abs(time)
        scale, angle = np.exp(-self.zoom * time), -self.turn * time
        cosine, sine = np.float32(scale * np.cos(angle)), np.float32(scale * np.sin(angle))
        left, top = x - np.float32(self.centre[0] + shift[0]), y - np.float32(self.centre[1] + shift[1])
        moved_x = cosine * left - sine * top + np.float32(self.centre[0])
        moved_y = sine * left + cosine * top + np.float32(self.centre[1])
        if self.relief is not None:
            moved_x, moved_y = x + (moved_x - x) * self.relief, y + (moved_y - y) * self.relief
        for sway, speed, phase in self.swaying:
            amount = np.float32(np.sin(phase + speed * time) - np.sin(phase))
            moved_x, moved_y = moved_x - amount * sway[..., 0], moved_y - amount * sway[..., 1]
        return moved_x, moved_y


@dataclass(frozen=True)
class Camera:
    """The ground's motion before the camera, and the same without relief, which scenery's follows."""

    ground: Motion
    plain: Motion


def draw_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """A camera that is still (15 %) or moves: shift of 0.3 to 16 pixels a frame, roll, zoom; half see depth."""
    unit = size[0] / HEIGHT
    centre = (rng.uniform(0.3, 0.7) * size[1], rng.uniform(0.3, 0.7) * size[0])
    still = Motion(size, np.zeros(2), np.zeros(2), centre=centre)
    if rng.random() < 0.15:
        return Camera(still, still)
    speed = unit * np.exp(rng.uniform(np.log(0.3), np.log(16)))
    shift = speed * _direction(rng, flat=0.6)
    zoom = rng.normal(0, 0.04) if rng.random() < 0.2 else rng.normal(0, 0.006)
    change = shift * rng.normal(0, 0.12) + rng.normal(0, 0.1 * unit, 2)
    plain = replace(still, shift=shift, more_shift=change, turn=rng.normal(0, 0.006), zoom=zoom)
    ground = plain
    if rng.random() < 0.5:
        ground = replace(ground, relief=_relief(rng, size))
    if rng.random() < 0.3:  # what no model of the camera explains: waves, rolling shutter, errors of a lens
        ground = replace(ground, swaying=(_sway(rng, size, rng.uniform(0.2, 1.2) * unit, size[0] * 0.3),))
    return Camera(ground, plain)


def scenery_motion(rng: np.random.Generator, size: tuple[int, int], camera: Camera) -> Motion:
    """A thing of the scene at another depth: the camera's motion times 0.35 to 0.95, or 1.05 to 2.6."""
    nearness = rng.uniform(0.35, 0.95) if rng.random() < 0.35 else rng.uniform(1.05, 2.6)
    plain = camera.plain
    motion = replace(plain, shift=plain.shift * nearness, more_shift=plain.more_shift * nearness)
    motion = replace(motion, zoom=plain.zoom * nearness)
    return wobble(rng, size, motion, 0.5) if rng.random() < 0.08 else motion


def wobble(rng: np.random.Generator, size: tuple[int, int], motion: Motion, strength: float = 1.0) -> Motion:
    """The motion with strong small-scale swaying besides, as of water, grass or leaves."""
    unit = size[0] / HEIGHT
    sways = [
        _sway(rng, size, strength * rng.uniform(0.5, 3) * unit, rng.uniform(6, 30) * unit, fast=True) for _ in range(2)
    ]
    drift = rng.normal(0, 1.0 * unit, 2) if rng.random() < 0.3 else 0.0
    return replace(motion, swaying=(*motion.swaying, *sways), shift=motion.shift + drift)


def object_motion(rng: np.random.Generator, size: tuple[int, int], camera: Camera, extent: float) -> Motion:
    """The camera's motion and one of its own: often against the camera that follows it, and often not rigid."""
    unit = size[0] / HEIGHT
    plain = camera.plain
    speed = float(np.hypot(*plain.shift))
    own = unit * np.exp(rng.uniform(np.log(0.8), np.log(12))) * _direction(rng, flat=0.6)
    if speed > 0 and rng.random() < 0.45:  # followed by the camera: it stays about where it is
        own = -plain.shift * rng.uniform(0.6, 1.15) + rng.normal(0, 0.5 * unit, 2)
        if np.hypot(*own) < 0.8 * unit:
            own = own + 1.2 * unit * _direction(rng, flat=0.6)
    motion = replace(
        plain,
        shift=plain.shift + own,
        more_shift=plain.more_shift + own * rng.normal(0, 0.15),
        turn=plain.turn + (rng.normal(0, 0.03) if rng.random() < 0.4 else 0.0),
        zoom=plain.zoom + (rng.normal(0, 0.02) if rng.random() < 0.4 else 0.0),
    )
    if rng.random() < 0.7:
        bend = np.exp(rng.uniform(np.log(0.3), np.log(4))) * unit
        motion = replace(motion, swaying=(_sway(rng, size, bend, rng.uniform(0.3, 1.2) * extent, fast=True),))
    return motion


def _direction(rng: np.random.Generator, flat: float) -> np.ndarray:
    """A unit vector; vertical parts are scaled by `flat` first, since most motion is across."""
    vector = rng.normal(0, 1, 2) * (1, flat)
    return vector / max(np.hypot(*vector), 1e-6)


def _relief(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Factors around 1 on the camera's shift: smooth depth, and a ground that comes nearer downwards."""
    field = smooth_field(rng, size, 1, size[0] * rng.uniform(0.15, 0.5))[..., 0] * rng.uniform(0.1, 0.6) / 2
    if rng.random() < 0.6:
        horizon = rng.uniform(0.1, 0.7)
        rows = np.linspace(0, 1, size[0], dtype=np.float32)[:, None]
        field = field + np.clip(rows - horizon, 0, None) * rng.uniform(0.3, 1.8)
    return np.clip(1 + field, 0.2, 3).astype(np.float32)


def _sway(
    rng: np.random.Generator, size: tuple[int, int], amplitude: float, grain: float, fast: bool = False
) -> tuple[np.ndarray, float, float]:
    """A smooth field of `amplitude` pixels a frame at most about, its angular speed, and its phase."""
    speed = rng.uniform(0.2, 1.2 if fast else 0.5)
    return smooth_field(rng, size, 2, grain) * np.float32(amplitude / speed), speed, rng.uniform(0, 2 * np.pi)


def smooth_field(rng: np.random.Generator, size: tuple[int, int], channels: int, grain: float) -> np.ndarray:
    """Noise float32 H,W,channels of standard deviation near 1, smooth over `grain` pixels."""
    rows, columns = (int(np.ceil(edge / max(grain, 2.0))) + 3 for edge in size)
    coarse = rng.standard_normal((rows, columns, channels)).astype(np.float32)
    across, down = (size[1] / max(grain, 2.0)), (size[0] / max(grain, 2.0))
    y = np.linspace(1, 1 + down, size[0], dtype=np.float32)[:, None].repeat(size[1], 1)
    x = np.linspace(1, 1 + across, size[1], dtype=np.float32)[None].repeat(size[0], 0)
    return cv2.remap(coarse, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).reshape(*size, channels)
