"""The augmentation of images with labels.

Input: an image of any size. Output: a square crop of it and of its labels.

light: a random scale, crop and flip, as semantic segmentation is commonly trained. heavy: also the colour jitter, grey
and blur of contrastive learning (the paper's 4.4 names them; strengths and chances are those of MoCo v2).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from amd.data.benchmarks.instances import VOID
from amd.data.pairs.transforms import resize

BEYOND = (124, 116, 104)  # the colour beyond the image: ImageNet's mean, which the network takes for zero
JITTER_CHANCE, GREY_CHANCE, BLUR_CHANCE = 0.8, 0.2, 0.5
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.4, 0.1  # factors from 1 +- these; of the hue's circle
BLUR = (0.1, 2.0)  # standard deviation in pixels


@dataclass(frozen=True)
class SemanticTransform:
    """Scale, crop, flip and, when `heavy`, recolour and blur; sizes in pixels."""

    short_edge: int  # the image's, before the scale drawn from [min_scale, max_scale]
    min_scale: float
    max_scale: float
    crop: int
    heavy: bool

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 H,W,3 and labels uint8 H,W → both crop,crop, contiguous; VOID beyond the image.

        What is drawn for geometry is the same for light and heavy.
        """
        height, width = labels.shape
        scale = self.short_edge * rng.uniform(self.min_scale, self.max_scale) / min(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = resize(image, *size)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)  # aligned with the image's
        image, labels = _cropped(image, labels, self.crop, rng)
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        if self.heavy:
            image = blurred(recoloured(image, rng), rng)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue of an image uint8 H,W,3 drawn anew, or none of its colour left."""
    pixels = image.astype(np.float32) / 255
    jitter, grey = rng.random() < JITTER_CHANCE, rng.random() < GREY_CHANCE
    bright, contrast, colourful = 1 + rng.uniform(-1, 1, 3).astype(np.float32) * (BRIGHTNESS, CONTRAST, SATURATION)
    turn = rng.uniform(-HUE, HUE)
    if jitter:
        pixels = _clipped(pixels * np.float32(bright))
        mean = _grey(pixels).mean()
        pixels = _clipped(mean + np.float32(contrast) * (pixels - mean))
        pixels = _clipped(_grey(pixels) + np.float32(colourful) * (pixels - _grey(pixels)))
        pixels = _hue_turned(pixels, turn)
    if grey:
        pixels = np.repeat(_grey(pixels), 3, axis=2)
    return np.rint(255 * pixels).astype(np.uint8)


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image uint8 H,W,3 under a Gaussian of a drawn width, or as it is."""
    chosen, std = rng.random() < BLUR_CHANCE, rng.uniform(*BLUR)
    return cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), std) if chosen else image


def _cropped(
    image: np.ndarray, labels: np.ndarray, crop: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random square of both; what lies beyond the image is below and to the right."""
    height, width = labels.shape
    top, left = (int(rng.integers(max(0, edge - crop) + 1)) for edge in (height, width))
    image, labels = (values[top : top + crop, left : left + crop] for values in (image, labels))
    bottom, right = crop - labels.shape[0], crop - labels.shape[1]
    if bottom or right:
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=BEYOND)
        labels = cv2.copyMakeBorder(labels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=VOID)
    return image, labels


def _hue_turned(pixels: np.ndarray, turn: float) -> np.ndarray:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)  # of floats: the hue in degrees
    hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
    return _clipped(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Luma H,W,1."""
    return (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]


def _clipped(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels, 0, 1).astype(np.float32)
