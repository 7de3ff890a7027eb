"""Masks that follow the image's edges: mean field in a fully connected CRF of two labels (section 3.4).

In, the foreground's probability and the image; out, the refined probability. Krähenbühl and Koltun, NIPS 2011, with
the unary −log P and DeepLab's two kernels: smoothness (position) and appearance (position and colour). Each kernel's
message is the mean of the neighbours' probabilities under its Gaussian, the pixel itself included, as in the
published code. The appearance kernel is filtered on a permutohedral lattice (see docs/transfer.md for its error).
"""

from collections.abc import Callable

import cv2
import numpy as np
from scipy.special import expit, logit

from amd.params import Crf
from amd.transfer.lattice import lattice_filter

SURE = 1e-6  # probabilities are kept this far from 0 and 1

Mean = Callable[[np.ndarray], np.ndarray]  # of the neighbours, H,W


def refine(probability: np.ndarray, image: np.ndarray, settings: Crf) -> np.ndarray:
    """The foreground's probability H,W after mean field, float32; `image` is uint8 H,W,3."""
    kernels = (
        (settings.position_weight, position_mean(image.shape[:2], settings.position_sigma)),
        (settings.colour_weight, appearance_mean(image, settings.colour_position_sigma, settings.colour_sigma)),
    )
    return mean_field(probability, kernels, settings.iterations)


def mean_field(probability: np.ndarray, kernels: tuple[tuple[float, Mean], ...], iterations: int) -> np.ndarray:
    """Parallel updates of Q from `probability` H,W under Potts potentials; `kernels` are weights with their means.

    With two labels a pixel pays the weight times the mean of the other label, so the messages' difference is
    2·mean − 1.
    """
    unary = logit(np.clip(probability, SURE, 1 - SURE).astype(np.float64))
    belief = expit(unary)
    for _ in range(iterations):
        belief = expit(unary + sum(weight * (2 * mean(belief) - 1) for weight, mean in kernels))
    return belief.astype(np.float32)


def position_mean(size: tuple[int, int], sigma: float) -> Mean:
    """Means under a Gaussian of `sigma` pixels, over the part that lies in the frame."""
    blur = lambda values: cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    total = blur(np.ones(size))
    return lambda values: blur(values) / total


def appearance_mean(image: np.ndarray, position_sigma: float, colour_sigma: float) -> Mean:
    """Means under the product of a Gaussian in position (pixels) and one in colour (of 0 to 255)."""
    height, width = image.shape[:2]
    places = np.mgrid[:height, :width].reshape(2, -1) / position_sigma
    blur = lattice_filter(np.concatenate([places, image.reshape(-1, 3).T / colour_sigma]))
    total = blur(np.ones(height * width))
    return lambda values: (blur(values.ravel()) / total).reshape(height, width)
