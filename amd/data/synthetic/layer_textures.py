"""What layers are covered with: photographs, frames of videos, or built-in drawn patterns.

No label is read: a texture is a piece of a picture, whatever it shows.
"""

from pathlib import Path

import cv2
import numpy as np

from amd.data.benchmarks.sequences import IMAGE_SUFFIXES
from amd.data.images import read_image
from amd.data.synthetic.textures import bricks, coat, fractal, marble, patches, scenery, spots, stripes
from amd.data.video.decode import Source, read_frames
from amd.data.video.sources import find_inputs
from amd.runtime.errors import UserError

SHORT_EDGE = 360  # of pictures in memory
LEAST_EDGE = 240  # of pictures; smaller ones are left out where there are others: no flow holds on what is blurred
DRAWN = 60  # built-in pictures
PATTERNS = (fractal, stripes, spots, marble, bricks, patches)


class Textures:
    """Pictures that layers are cut from: `pictures`, and besides in a share `drawn` of the cases built-in ones."""

    def __init__(self, pictures: list[np.ndarray], drawn: float = 0.2, seed: int = 0) -> None:
        self.pictures = [picture for picture in pictures if min(picture.shape[:2]) >= LEAST_EDGE] or pictures
        self.share = drawn if pictures else 1.0
        self.drawn = _drawn_pictures(seed) if self.share > 0 else []

    def scene(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """A piece of any picture as uint8 H,W,3 of `size`, at 0.4 to 1.0 times its own size, recoloured."""
        return self._piece(rng, size, 0.45, 1.1)

    def thing(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """The same for objects: often a smaller piece, so that it may be flat, or a larger one, full of detail."""
        return self._piece(rng, size, 0.4, 1.5)

    def _piece(self, rng: np.random.Generator, size: tuple[int, int], least: float, most: float) -> np.ndarray:
        pictures = self.drawn if rng.random() < self.share else self.pictures
        picture = pictures[rng.integers(len(pictures))]
        scale = np.exp(rng.uniform(np.log(least), np.log(most))) * size[0] / SHORT_EDGE
        turn = rng.normal(0, 0.15)
        cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
        x, y = rng.uniform(0, picture.shape[1]), rng.uniform(0, picture.shape[0])
        flip = 1 if rng.random() < 0.5 else -1
        middle = np.array([size[1] / 2, size[0] / 2])
        matrix = np.array([[flip * cosine, -sine, 0], [flip * sine, cosine, 0]])
        matrix[:, 2] = (x, y) - matrix[:, :2] @ middle
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        piece = cv2.warpAffine(picture, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        if rng.random() < 0.08:
            piece = cv2.GaussianBlur(piece, (0, 0), rng.uniform(0.8, 3))
        return _recoloured(rng, piece)


def load_textures(folder: Path | str | None, drawn: float = 0.2, most: int = 800, seed: int = 0) -> Textures:
    """The textures of a folder of images, frame folders and videos, at most about `most` pictures in memory.

    Of a video, frames spread evenly over its beginning are taken. None: built-in patterns alone. UserError when the
    folder is not there or has nothing that can be read.
    """
    if folder is None:
        return Textures([], 1.0, seed)
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; textures are images or videos in it")
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    videos = [source for source in find_inputs(folder) if source.frame_names is None] if folder.is_dir() else []
    share = max(1, (most - min(len(images), most)) // max(1, len(videos)))
    step = max(1, len(images) // most)
    pictures = [_reduced(read_image(path)) for path in images[::step][:most]]
    for source in videos:
        pictures += _video_pictures(source, share)
    if not pictures:
        raise UserError(f"{folder}: no image and no video in it that can be read; textures are made from these")
    return Textures(pictures, drawn, seed)


def _video_pictures(source: Source, most: int) -> list[np.ndarray]:
    """At most `most` frames of a video, a third of a second apart or more; what cannot be decoded is left out."""
    pictures: list[np.ndarray] = []
    frames = read_frames(source, SHORT_EDGE, fps=3)
    try:
        for frame in frames:
            pictures.append(frame.image)
            if len(pictures) >= most:
                break
    except UserError:
        pass  # a texture needs no whole video
    finally:
        frames.close()
    return pictures


def _reduced(image: np.ndarray) -> np.ndarray:
    """Shrunk to the short edge; smaller pictures stay as they are."""
    scale = SHORT_EDGE / min(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _drawn_pictures(seed: int) -> list[np.ndarray]:
    """Built-in pictures: landscapes and patterned surfaces."""
    rng = np.random.default_rng([seed, 2])
    pictures = []
    for number in range(DRAWN):
        pattern = PATTERNS[rng.integers(len(PATTERNS))]
        if number % 2:
            picture = scenery(rng, SHORT_EDGE, 640, rng.uniform(0.3, 0.7) * SHORT_EDGE, 2.5, pattern)
        else:
            picture = coat(rng, SHORT_EDGE, rng.uniform(8, 60), pattern, rng.uniform())
        pictures.append(np.clip(picture * 255, 0, 255).astype(np.uint8))
    return pictures


def _recoloured(rng: np.random.Generator, piece: np.ndarray) -> np.ndarray:
    """Contrast, brightness and the balance of colours changed."""
    contrast, brightness = rng.uniform(0.7, 1.2), rng.normal(0, 20)
    balance = rng.uniform(0.85, 1.15, 3)
    table = np.arange(256)[:, None]
    table = np.clip(((table - 128) * contrast + 128 + brightness) * balance, 0, 255).astype(np.uint8)
    return cv2.LUT(piece, table[:, None])
