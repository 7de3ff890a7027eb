"""Deforming, shaded objects: a body of blobs with moving outlines and swinging limbs.

A shape lives in body coordinates (x forward, y down, the body about 1 long each way). Its field is an
approximate signed distance, negative inside; the outline is where it is 0, so masks are exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLEND = 0.05  # body units over which parts melt together
REACH = 2.2  # body units from the origin within which every shape lies


@dataclass(frozen=True)
class Part:
    """A blob: a superellipse with a waving outline, hung on a joint that swings."""

    joint: tuple[float, float]  # body coordinates
    offset: tuple[float, float] = (0.0, 0.0)  # from the joint to the centre, before the swing
    axes: tuple[float, float] = (1.0, 1.0)
    exponent: float = 2.0  # 2 is an ellipse, 4 a rounded box
    angle: float = 0.0  # radians
    swing: float = 0.0  # radians to either side
    phase: float = 0.0
    lobes: tuple[tuple[int, float, float, float], ...] = ()  # (order, amplitude, phase, waves per cycle)
    shade: float = 1.0  # brightness of this part's coat


@dataclass(frozen=True)
class Shape:
    """Parts that move together; `rate` is radians of gait per frame; marks are painted on (eyes, windows)."""

    parts: tuple[Part, ...]
    rate: float
    marks: tuple[Part, ...] = ()


ShapeMaker = Callable[[np.random.Generator], Shape]


def field(shape: Shape, x: np.ndarray, y: np.ndarray, frame: float) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (negative inside, body units) and coat brightness at body points x, y, at `frame`."""
    distances = np.stack([_part_distance(part, x, y, shape.rate * frame) for part in shape.parts])
    nearest = distances.min(axis=0)
    weights = np.exp(np.maximum((nearest - distances) / BLEND, -50))
    total = weights.sum(axis=0)
    shades = np.array([part.shade for part in shape.parts], np.float32)
    shade = np.tensordot(shades, weights, 1) / total
    for mark in shape.marks:
        cover = np.clip(0.5 - _part_distance(mark, x, y, shape.rate * frame) / BLEND, 0, 1)
        shade = shade + cover * (mark.shade - shade)
    return nearest - BLEND * np.log(total), shade


def _part_distance(part: Part, x: np.ndarray, y: np.ndarray, gait: float) -> np.ndarray:
    turn = part.angle + part.swing * np.sin(gait + part.phase)
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = x - part.joint[0], y - part.joint[1]
    u = (cos * x + sin * y - part.offset[0]) / part.axes[0]
    v = (cos * y - sin * x - part.offset[1]) / part.axes[1]
    if part.exponent == 2:
        radius = np.sqrt(u * u + v * v)
    else:
        radius = (np.abs(u) ** part.exponent + np.abs(v) ** part.exponent) ** (1 / part.exponent)
    if part.lobes:
        theta = np.arctan2(v, u)
        waves = (a * np.cos(k * theta + p + w * gait) for k, a, p, w in part.lobes)
        radius = radius / (1 + sum(waves))
    return (radius - 1) * min(part.axes)


def measure(shape: Shape) -> tuple[float, np.ndarray]:
    """Area (square body units) and span (width, height) of the shape at frame 0."""
    line = np.linspace(-REACH, REACH, 128, dtype=np.float32)
    inside = field(shape, *np.meshgrid(line, line), 0)[0] < 0
    cell = 2 * REACH / 127
    span = np.array([inside.any(axis=0).sum(), inside.any(axis=1).sum()]) * cell
    return float(inside.sum() * cell**2), span


def _lobes(rng: np.random.Generator, orders: range, strength: float) -> tuple:
    """Waves of an outline, weaker as they get shorter."""
    return tuple(
        (k, strength * rng.uniform(0.4, 1) / (k - 1), rng.uniform(0, 2 * np.pi), rng.choice([-0.5, 0.5, 1.0]))
        for k in orders
    )


def _hubs(wheels: list[Part]) -> list[Part]:
    return [Part(wheel.joint, axes=(0.11, 0.11), shade=0.9) for wheel in wheels]


def quadruped(rng: np.random.Generator) -> Shape:
    """A trunk, a head on a neck, four stout legs and a tail."""
    long, deep = rng.uniform(0.9, 1.1), rng.uniform(0.5, 0.65)
    leg, stout, gait = rng.uniform(0.35, 0.5), rng.uniform(0.15, 0.2), rng.uniform(0.25, 0.45)
    trunk = Part((0, 0), axes=(long, deep), lobes=_lobes(rng, range(2, 5), 0.07))
    neck = Part((0.75 * long, -0.25), (0.15, -0.1), (0.38, 0.27), angle=-0.7, swing=0.1)
    head = Part((0.95 * long, -0.55), (0.12, 0), (0.36, 0.27), angle=0.25, swing=0.15, phase=1, shade=0.9)
    tail = Part((-0.9 * long, -0.2), (-0.3, 0), (0.36, 0.12), angle=0.4, swing=0.4, shade=0.85)
    legs = [
        Part((at * long, 0.35 * deep), (0, leg), (stout, leg), swing=gait, phase=phase, shade=shade)
        for at, phase, shade in [(-0.65, 0, 1), (-0.45, np.pi, 0.7), (0.6, np.pi / 2, 1), (0.4, -np.pi / 2, 0.7)]
    ]
    eye = Part(head.joint, (0.24, -0.08), (0.06, 0.06), angle=0.25, swing=0.15, phase=1, shade=0.15)
    return Shape((trunk, neck, head, tail, *legs), rng.uniform(0.3, 0.6), (eye,))


def car(rng: np.random.Generator) -> Shape:
    """A rounded box with a cabin and dark wheels."""
    long, high = rng.uniform(1.1, 1.3), rng.uniform(0.36, 0.45)
    body = Part((0, 0), axes=(long, high), exponent=4.0)
    cabin = Part((rng.uniform(-0.25, 0.1), -high), axes=(0.6 * long, 0.36), exponent=3.0, shade=0.75)
    wheels = [Part((at * long, high), axes=(0.27, 0.27), shade=0.45) for at in (-0.58, 0.58)]
    joints = [(cabin.joint[0] + side * 0.27 * long, -high - 0.06) for side in (-1, 1)]
    panes = [Part(joint, axes=(0.21 * long, 0.18), exponent=3.0, shade=0.3) for joint in joints]
    return Shape((body, cabin, *wheels), 0.3, (*panes, *_hubs(wheels)))


def pebble(rng: np.random.Generator) -> Shape:
    """One body whose outline waves: a curled cat, a jellyfish, a bag."""
    tall = rng.uniform(0.75, 1.0)
    return Shape((Part((0, 0), axes=(1.0, tall), lobes=_lobes(rng, range(2, 7), 0.18)),), rng.uniform(0.12, 0.3))


def bird(rng: np.random.Generator) -> Shape:
    """A plump body with a head, a fanned tail and a beating wing."""
    deep = rng.uniform(0.55, 0.7)
    body = Part((0, 0), axes=(0.95, deep), angle=-0.15, lobes=_lobes(rng, range(2, 4), 0.06))
    head = Part((0.8, -0.5), axes=(0.36, 0.33), swing=0.1, shade=0.85)
    neck = Part((0.6, -0.3), axes=(0.36, 0.3), angle=-0.8)
    tail = Part((-0.75, 0.0), (-0.35, 0), (0.5, 0.24), angle=0.15, swing=0.2, shade=0.8)
    wing = Part((0.0, -0.15), (-0.3, 0), (0.65, 0.3), angle=0.35, swing=0.5, phase=1, shade=1.15)
    eye = Part(head.joint, (0.14, -0.06), (0.06, 0.06), swing=0.1, shade=0.15)
    return Shape((body, neck, head, tail, wing), rng.uniform(0.3, 0.5), (eye,))


def biped(rng: np.random.Generator) -> Shape:
    """An upright figure: head, torso, hips, two legs and two arms."""
    wide = rng.uniform(0.42, 0.52)
    torso = Part((0, -0.2), axes=(wide, 0.6), exponent=2.6, swing=0.05)
    head = Part((0.05, -1.0), axes=(0.3, 0.33), swing=0.1, shade=0.85)
    legs = [
        Part((0, 0.25), (0, 0.5), (0.25, 0.62), swing=0.35, phase=phase, shade=shade)
        for phase, shade in [(0, 0.9), (np.pi, 0.65)]
    ]
    arms = [
        Part((side * wide * 0.6, -0.55), (0, 0.35), (0.17, 0.45), angle=-0.3 * side, swing=0.4, phase=phase, shade=0.95)
        for side, phase in [(-1, np.pi), (1, 0)]
    ]
    return Shape((torso, head, *legs, *arms), rng.uniform(0.3, 0.5))


def van(rng: np.random.Generator) -> Shape:
    """A tall box with a bonnet and dark wheels."""
    high = rng.uniform(0.55, 0.68)
    box = Part((-0.2, -0.1), axes=(0.95, high), exponent=5.0)
    bonnet = Part((0.75, high - 0.42), axes=(0.42, 0.34), exponent=3.5, shade=0.9)
    wheels = [Part((at, high - 0.08), axes=(0.25, 0.25), shade=0.45) for at in (-0.7, 0.65)]
    pane = Part((0.3, -0.1 - 0.35 * high), axes=(0.3, 0.3 * high), exponent=3.0, shade=0.3)
    return Shape((box, bonnet, *wheels), 0.3, (pane, *_hubs(wheels)))
