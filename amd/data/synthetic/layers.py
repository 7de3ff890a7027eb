"""Layered clips: a few frames of textured layers that move, with exact truth of what moves on its own.

Input: textures (amd.data.synthetic.layer_textures) and a seed. Output: frames, and per frame the mask of the objects.
No label is needed, so the textures may be frames of any video. What teaches a network to tell objects from scenery is
that most layers are scenery: poles, bushes and clutter before a moving camera move with its parallax, and are
background.

Every layer is a picture in the coordinates of the frame at time 0; its motion is a map from pixels of the frame at time
t back to these (amd.data.synthetic.layer_motion). Layers are drawn in order, later ones in front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np

from amd.data.synthetic.layer_motion import (
    Camera,
    Motion,
    draw_camera,
    object_motion,
    scenery_motion,
    smooth_field,
    wobble,
)
from amd.data.synthetic.layer_shapes import MARGIN, bush, clutter, foliage, object_shape, pole
from amd.data.synthetic.layer_textures import Textures

GENERATION = 3  # of what is drawn: cached clips of another one are not used
BLIND = 0.2  # share of the clips without an object that show noise or nothing at all
BLURRED = 0.4  # share of the clips with motion blur
EXPOSURES = (0.2, 0.7)  # of the time between frames that a shutter of these is open


@dataclass(frozen=True)
class Layer:
    """A texture float or uint8 H,W,3 and a cover float32 H,W in [0, 1], both with MARGIN around the frame."""

    texture: np.ndarray
    cover: np.ndarray
    motion: Motion
    role: str  # "object", "scenery", or "shadow" (also reflection, spray), which hides nothing and is background


@dataclass(frozen=True)
class Clip:
    """Frames uint8 RGB N,H,W,3, truth bool N,H,W, and the times of the frames (0 is the middle one's)."""

    frames: np.ndarray
    truth: np.ndarray
    times: tuple[float, ...]


def draw_clip(
    textures: Textures, seed: int, times: Sequence[float], size: tuple[int, int] = (240, 428), empty: float = 0.12
) -> Clip:
    """Draw the clip of a seed, with frames of `size` (height, width) at `times`, in frames from the middle one.

    A share `empty` of the clips has no object.
    """
    rng = np.random.default_rng([seed, 1])
    has_objects = rng.random() >= empty
    if not has_objects and rng.random() < BLIND:
        return blind_clip(rng, times, size)
    camera = draw_camera(rng, size)
    background = Layer(textures.scene(rng, padded(size)), np.ones(padded(size), np.float32), camera.ground, "scenery")
    layers = draw_scenery(rng, textures, size, camera)
    if has_objects:
        layers = _with_objects(rng, textures, size, camera, layers)
    layers = [background, *layers]
    if rng.random() < BLURRED:
        exposure = rng.uniform(*EXPOSURES)
        layers = [_blurred(layer, exposure) for layer in layers]
    light = [1 + rng.normal(0, 0.01) * time for time in times] if rng.random() < 0.3 else [1.0] * len(times)
    frames, truth = zip(*(draw_frame(layers, time, size) for time in times), strict=True)
    quality, noise = int(rng.integers(50, 96)), rng.exponential(0.8)
    seen = [recorded(rng, image * gain, noise, quality) for image, gain in zip(frames, light, strict=True)]
    return Clip(np.stack(seen), np.stack(truth), tuple(times))


def blind_clip(rng: np.random.Generator, times: Sequence[float], size: tuple[int, int]) -> Clip:
    """Frames of one colour, often black, with noise that is new in each: fine grain, or coarse as of dirt and snow."""
    tone = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.zeros(3)
    strength = np.exp(rng.uniform(np.log(0.3), np.log(80)))
    grain = np.exp(rng.uniform(0, np.log(24)))
    coarse = tuple(max(2, round(edge / grain)) for edge in size)
    frames = []
    for _ in times:
        noise: np.ndarray = rng.standard_normal((*coarse, 3)).astype(np.float32)
        noise = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, 3)
        frames.append(recorded(rng, tone.astype(np.float32) + np.float32(strength) * noise, 0.0, 90))
    return Clip(np.stack(frames), np.zeros((len(times), *size), bool), tuple(times))


def padded(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] + 2 * MARGIN, size[1] + 2 * MARGIN


def draw_scenery(rng: np.random.Generator, textures: Textures, size: tuple[int, int], camera: Camera) -> list[Layer]:
    """None to four things that stand in the scene, and at times a part of the ground in unsteady motion."""
    layers = []
    if rng.random() < 0.12:  # water, grass or leaves in the wind
        cover = bush(rng, size, rng.uniform(0.3, 1.2))
        layers.append(Layer(textures.scene(rng, padded(size)), cover, wobble(rng, size, camera.ground), "scenery"))
    for _ in range(rng.choice(5, p=(0.2, 0.25, 0.25, 0.2, 0.1))):
        shape = (pole, clutter, bush, foliage)[rng.choice(4, p=(0.3, 0.3, 0.2, 0.2))]
        motion = scenery_motion(rng, size, camera)
        layers.append(Layer(textures.scene(rng, padded(size)), shape(rng, size), motion, "scenery"))
    return layers


def _with_objects(
    rng: np.random.Generator, textures: Textures, size: tuple[int, int], camera: Camera, layers: list[Layer]
) -> list[Layer]:
    """The layers with one to three objects before them or, in 40 % of the clips, anywhere among them."""
    layers = list(layers)
    mixed = rng.random() < 0.4
    for _ in range(rng.choice((1, 2, 3), p=(0.7, 0.2, 0.1))):
        cover, extent = object_shape(rng, size)
        motion = object_motion(rng, size, camera, extent)
        place = int(rng.integers(len(layers) + 1)) if mixed else len(layers)
        thing = Layer(textures.thing(rng, padded(size)), cover, motion, "object")
        layers.insert(place, thing)
        kind = rng.random()
        if kind < 0.2:
            layers.insert(place, _shadow(rng, thing))
        elif kind < 0.35:
            layers.insert(place, _reflection(rng, size, thing))
        elif kind < 0.5:
            layers.insert(place + int(rng.integers(2)), _spray(rng, size, camera, thing))
    return layers


def _blurred(layer: Layer, exposure: float) -> Layer:
    """The layer as a shutter sees it that is open for a part `exposure` of the time between frames: smeared along."""
    reach = layer.motion.shift * exposure
    length = int(np.ceil(np.hypot(*reach)))
    if length < 2:
        return layer
    kernel: np.ndarray = np.zeros((2 * length + 1,) * 2, np.float32)
    start, end = (tuple(round(16 * (length + sign * part / 2)) for part in reach) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
    kernel /= kernel.sum()
    texture, cover = (
        cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT) for picture in (layer.texture, layer.cover)
    )
    return replace(layer, texture=texture, cover=cover)


def _shadow(rng: np.random.Generator, thing: Layer) -> Layer:
    """A soft dark copy of an object below it, flattened and leaning, which moves with it."""
    shadow = _mirrored(thing.cover, rng.uniform(0.15, 0.5), rng.normal(0, 0.5), thing.cover)
    shadow = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1, 4)) * np.float32(rng.uniform(0.2, 0.7))
    return Layer(np.zeros_like(thing.texture), shadow, thing.motion, "shadow")


def _reflection(rng: np.random.Generator, size: tuple[int, int], thing: Layer) -> Layer:
    """An object's image in water or on a wet floor: mirrored below it, faint, unsteady; background."""
    height = rng.uniform(0.6, 1.1)
    cover = _mirrored(thing.cover, height, 0.0, thing.cover) * np.float32(rng.uniform(0.3, 0.9))
    texture = _mirrored(thing.texture, height, 0.0, thing.cover)
    motion = wobble(rng, size, thing.motion, rng.uniform(0.1, 0.6))
    return Layer(texture, cover, motion, "shadow")


def _spray(rng: np.random.Generator, size: tuple[int, int], camera: Camera, thing: Layer) -> Layer:
    """What an object throws up behind its foot: spray, dust or smoke. It drifts after it, boils, and is background."""
    own = thing.motion.shift - camera.plain.shift
    rows, columns = np.nonzero(thing.cover > 0.5)
    extent = np.sqrt(max(len(rows), 1))
    foot = (np.median(columns), np.quantile(rows, 0.9)) if len(rows) else (0.0, 0.0)
    length, height = extent * rng.uniform(0.4, 1.5), extent * rng.uniform(0.15, 0.5)
    middle = foot - 0.7 * length * own / max(np.hypot(*own), 1e-6) * (1, 0.4)
    y, x = np.mgrid[: size[0] + 2 * MARGIN, : size[1] + 2 * MARGIN].astype(np.float32)
    inside = 1 - ((x - middle[0]) / length) ** 2 - ((y - middle[1]) / height) ** 2
    ragged = inside + 0.5 * smooth_field(rng, x.shape, 1, rng.uniform(4, 16))[..., 0]
    cover = np.clip(3 * ragged, 0, 1).astype(np.float32) * np.float32(rng.uniform(0.4, 1))
    grain = smooth_field(rng, x.shape, 1, rng.uniform(2, 8)) * np.float32(rng.uniform(5, 40))
    texture = np.clip(rng.uniform(90, 230) + grain, 0, 255).repeat(3, 2).astype(np.uint8)
    drift = replace(thing.motion, shift=camera.plain.shift + own * rng.uniform(0, 0.9))
    return Layer(texture, cover, wobble(rng, size, drift, rng.uniform(0.3, 1.5)), "shadow")


def _mirrored(picture: np.ndarray, height: float, lean: float, cover: np.ndarray) -> np.ndarray:
    """A picture mirrored at the foot of a cover, its height and lean changed."""
    rows = np.flatnonzero(cover.max(axis=1) > 0.5)
    foot = float(rows[-1]) if len(rows) else 0.0
    matrix = np.array([[1, -lean / height, lean * foot / height], [0, -1 / height, foot * (1 + 1 / height)]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def draw_frame(layers: list[Layer], time: float, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The image float32 H,W,3 in [0, 255], and where an object is seen, bool H,W."""
    image: np.ndarray = np.zeros((*size, 3), np.float32)
    seen = np.zeros(size, np.float32)
    for layer in layers:
        x, y = layer.motion.maps(time)
        x, y = x + MARGIN, y + MARGIN
        texture = cv2.remap(layer.texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        cover = cv2.remap(layer.cover, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        image = cv2.blendLinear(texture, image, cover, 1 - cover)
        if layer.role != "shadow":
            seen *= 1 - cover
        if layer.role == "object":
            seen += cover
    return image, seen > 0.5


def recorded(rng: np.random.Generator, image: np.ndarray, noise: float, quality: int) -> np.ndarray:
    """What a camera makes of a picture: sensor noise and JPEG."""
    grain = np.empty(image.shape, np.float32)
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    cv2.randn(grain, 0, noise)  # type: ignore[call-overload]  # stubs want arrays for the numbers
    bytes_ = cv2.imencode(".jpg", np.clip(image + grain, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cast(np.ndarray, cv2.imdecode(bytes_[1], cv2.IMREAD_COLOR))
