"""Clips in which nothing moves on its own: what must not be taken for an object.

Input: textures and a seed. Output: frames. Of four kinds: a camera that rests; one that turns and zooms over a plane;
one that moves past near and far things, some of them in the wind; and noise, dirt or nothing at all.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from amd.data.synthetic.layer_motion import Camera, draw_camera
from amd.data.synthetic.layer_textures import Textures
from amd.data.synthetic.layers import Layer, blind_clip, draw_frame, draw_scenery, padded, recorded

Kind = Literal["rest", "turn", "past", "blind"]
KINDS: tuple[Kind, ...] = ("rest", "turn", "past", "blind")


def draw_still(
    textures: Textures, kind: Kind, seed: int, times: Sequence[float], size: tuple[int, int] = (240, 428)
) -> np.ndarray:
    """Frames uint8 N,H,W,3 of `size` (height, width) at `times`, in frames from the middle one."""
    rng = np.random.default_rng([seed, 2, KINDS.index(kind)])
    if kind == "blind":
        return blind_clip(rng, times, size).frames
    camera = _camera(rng, kind, size)
    ground = camera.ground if kind == "past" else camera.plain
    layers = [Layer(textures.scene(rng, padded(size)), np.ones(padded(size), np.float32), ground, "scenery")]
    if kind == "past":
        layers += draw_scenery(rng, textures, size, camera)
    drift = rng.normal(0, 0.01) if kind == "rest" else 0.0  # of the light
    quality, noise = int(rng.integers(50, 96)), rng.exponential(0.8)
    frames = [draw_frame(layers, time, size)[0] * (1 + drift * time) for time in times]
    return np.stack([recorded(rng, frame, noise, quality) for frame in frames])


def _camera(rng: np.random.Generator, kind: Kind, size: tuple[int, int]) -> Camera:
    """A camera that moves, or for "rest" one that does not."""
    camera = draw_camera(rng, size)
    if kind == "rest":
        still = replace(camera.plain, shift=np.zeros(2), more_shift=np.zeros(2), turn=0.0, zoom=0.0)
        return Camera(still, still)
    return camera if camera.plain.shift.any() else _camera(rng, kind, size)
