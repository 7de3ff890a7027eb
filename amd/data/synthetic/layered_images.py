"""Layered images: textured layers before one another, each an instance; what an embedding learns grouping by.

Input: textures (amd.data.synthetic.layer_textures) and a seed. Output: an image with the layer that each pixel is of.
No label is needed, so the textures may be photographs. Objects and scenery alike are instances, and so is the
background: an embedding tells things apart, whatever they are. What a layer is of has no class.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from amd.data.benchmarks.instances import VOID, Labelled
from amd.data.synthetic.layer_shapes import MARGIN, bush, clutter, foliage, object_shape, pole
from amd.data.synthetic.layer_textures import Textures

Shape = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

STREAM = 7  # sets the random numbers apart from those of clips with the same seed
MOST = 7  # layers before the background
LEAST_SEEN = 0.002  # share of the frame: a layer of which less is seen is nobody's
CLOSE = (1.0, 2.5)  # times nearer that a texture may be than in clips: one material, where a photograph shows many
SHAPES: tuple[tuple[Shape, float], ...] = (  # with the chance of each
    (lambda rng, size: object_shape(rng, size)[0], 0.5),
    (pole, 0.1),
    (clutter, 0.2),
    (bush, 0.15),
    (foliage, 0.05),
)


def draw_image(textures: Textures, seed: int | Sequence[int], size: tuple[int, int]) -> Labelled:
    """The image of a seed, uint8 RGB H,W,3 of `size` (height, width): instances are numbered from the back, 0 first.

    Classes are VOID everywhere, and instances where too little of a layer is seen.
    """
    rng = np.random.default_rng([STREAM, *np.atleast_1d(seed)])
    covers = [np.ones(size, np.float32)]
    for _ in range(rng.integers(1, MOST + 1)):
        shape = SHAPES[rng.choice(len(SHAPES), p=[chance for _, chance in SHAPES])][0]
        covers.append(shape(rng, size)[MARGIN:-MARGIN, MARGIN:-MARGIN])
    image, instances = compose([_texture(rng, textures, size) for _ in covers], covers)
    seen = np.bincount(instances.ravel(), minlength=len(covers)) >= LEAST_SEEN * instances.size
    instances[~seen[instances]] = VOID
    return Labelled(image, np.full(size, VOID, np.uint8), instances, exact=True)


def compose(textures: Sequence[np.ndarray], covers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 H,W,3 and, int32 H,W, the number of the layer that shows most; later layers are in front.

    `textures` are H,W,3 and `covers` float32 H,W in [0, 1], of which the first is 1 everywhere.
    """
    image: np.ndarray = np.ascontiguousarray(textures[0], np.float32)
    shown: np.ndarray = np.ones((1, *image.shape[:2]), np.float32)
    for texture, cover in zip(textures[1:], covers[1:], strict=True):
        cover = np.ascontiguousarray(cover, np.float32)
        image = cv2.blendLinear(texture.astype(np.float32), image, cover, 1 - cover)
        shown = np.concatenate([shown * (1 - cover), cover[None]])
    return np.rint(image).astype(np.uint8), shown.argmax(0).astype(np.int32)


def _texture(rng: np.random.Generator, textures: Textures, size: tuple[int, int]) -> np.ndarray:
    """A piece of a texture uint8 H,W,3, at times from near: the middle of one for a larger frame."""
    nearness = rng.uniform(*CLOSE)
    larger = tuple(round(edge * nearness) for edge in size)
    piece = textures.thing(rng, (larger[0], larger[1]))
    top, left = ((whole - edge) // 2 for whole, edge in zip(larger, size, strict=True))
    return piece[top : top + size[0], left : left + size[1]]
