"""Flow as colour, maps as grey, and the colours of segments and objects.

A flow's direction is the hue, its length the saturation; no motion is white. Right is red (hue 0), down yellow-green
(90 degrees), left cyan (180), up violet (270): image axes, y downwards.
"""

import numpy as np

SEGMENT_COLOURS = ("#3b82c4", "#d98324", "#3f9d63", "#c2557a", "#8a6fc9", "#7d7f36", "#2f9c9c", "#a8603c")


def flow_colours(flow: np.ndarray, longest: float) -> np.ndarray:
    """Colours uint8 H,W,3 of a flow 2,H,W (x, then y); vectors of length `longest` and above are saturated."""
    hue = np.arctan2(flow[1], flow[0]) * (3 / np.pi)  # in sixths of the circle
    length = np.hypot(flow[0], flow[1])
    saturation = np.clip(length / longest, 0, 1) if longest > 0 else np.zeros_like(length)
    # At full value, HSV takes from each channel by how far the hue lies from that channel's third.
    turned = (hue[..., None] + np.array([5, 3, 1])) % 6
    taken = np.clip(np.minimum(turned, 4 - turned), 0, 1)
    return np.round(255 * (1 - saturation[..., None] * taken)).astype(np.uint8)


def colour_wheel(size: int) -> np.ndarray:
    """The legend: a disc of every direction, its rim saturated, as RGBA uint8 size,size,4."""
    axis = np.linspace(-1, 1, size)
    flow = np.stack(np.meshgrid(axis, axis))
    inside = np.clip((1 - np.hypot(*flow)) * size / 2 + 0.5, 0, 1)  # a soft rim of a pixel
    return np.dstack((flow_colours(flow, 1.0), np.round(255 * inside).astype(np.uint8)))


def grey(values: np.ndarray) -> np.ndarray:
    """A map H,W in 0 to 1 as uint8 H,W,3."""
    return np.repeat(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def segment_colour(segment: int) -> str:
    """The colour that a segment has in every figure and picture."""
    return SEGMENT_COLOURS[segment % len(SEGMENT_COLOURS)]


def object_colour(number: int) -> tuple[int, int, int]:
    """The colour, RGB, of the object of an id (from 1): those of segments in turn."""
    red, green, blue = bytes.fromhex(segment_colour(number - 1).removeprefix("#"))
    return red, green, blue
