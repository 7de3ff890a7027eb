"""The dense CRF against brute force: every pair of pixels summed, on images small enough for that.

The one approximation is the permutohedral lattice. How far it is from the exact sum is bounded here, and told in
docs/transfer.md.
"""

import numpy as np
import pytest
from pydantic import ValidationError

from amd.config import Crf
from amd.config.profiles import load_profile
from amd.transfer.crf import appearance_mean, lattice_filter, mean_field, position_mean, refine

PAPER = load_profile("paper").crf
SIZE = (20, 26)


def picture(seed: int = 0, noise: float = 6) -> tuple[np.ndarray, np.ndarray]:
    """An image H,W,3 uint8 of a disc on a slope of grey, and where the disc is."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (rows - 9) ** 2 + (columns - 12) ** 2 < 36
    image = 60 + 2 * columns[..., None] + np.where(disc[..., None], [90, -10, 40], 0)
    return np.clip(image + rng.normal(0, noise, (*SIZE, 3)), 0, 255).astype(np.uint8), disc


def unsure(disc: np.ndarray, seed: int = 0) -> np.ndarray:
    """A foreground probability that is often wrong."""
    return np.clip(0.35 + 0.3 * disc + np.random.default_rng(seed).normal(0, 0.2, SIZE), 0.02, 0.98)


def gaussian(points: np.ndarray) -> np.ndarray:
    """exp(−d²/2) of all pairs of points d,n."""
    return np.exp(-0.5 * ((points[:, :, None] - points[:, None]) ** 2).sum(0))


def exact_kernels(image: np.ndarray, settings: Crf) -> list[tuple[float, np.ndarray]]:
    """Weights with matrices n,n that take the neighbours' mean, each row summing to one."""
    places = np.mgrid[: SIZE[0], : SIZE[1]].reshape(2, -1).astype(float)
    colours = image.reshape(-1, 3).T.astype(float)
    appearance = np.concatenate([places / settings.colour_position_sigma, colours / settings.colour_sigma])
    kernels = gaussian(places / settings.position_sigma), gaussian(appearance)
    weights = settings.position_weight, settings.colour_weight
    return [(weight, kernel / kernel.sum(1, keepdims=True)) for weight, kernel in zip(weights, kernels, strict=True)]


def brute_force(probability: np.ndarray, image: np.ndarray, settings: Crf) -> np.ndarray:
    """Mean field over two labels as the paper on dense CRFs writes it: messages, Potts, normalisation."""
    kernels = exact_kernels(image, settings)
    unary = -np.log(np.stack([1 - probability.ravel(), probability.ravel()]))
    belief = np.exp(-unary)
    for _ in range(settings.iterations):
        energy = unary.copy()
        for weight, kernel in kernels:
            message = belief @ kernel.T  # 2,n
            energy += weight * message[::-1]  # Potts: a label pays for the other one
        belief = np.exp(-(energy - energy.min(0)))
        belief /= belief.sum(0)
    return belief[1].reshape(probability.shape)


def test_mean_field_is_the_brute_force_sum():
    """The update itself is exact: with exact kernels nothing but rounding is left."""
    image, disc = picture()
    settings = PAPER.model_copy(update={"colour_sigma": 20.0})
    kernels = tuple(
        (weight, lambda values, kernel=kernel: (kernel @ values.ravel()).reshape(SIZE))
        for weight, kernel in exact_kernels(image, settings)
    )
    found = mean_field(unsure(disc), kernels, settings.iterations)
    np.testing.assert_allclose(found, brute_force(unsure(disc), image, settings), atol=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_the_smoothness_mean_is_the_brute_force_mean(sigma):
    """OpenCV cuts the Gaussian off after four deviations."""
    places = np.mgrid[: SIZE[0], : SIZE[1]].reshape(2, -1) / sigma
    kernel = gaussian(places)
    values = np.random.default_rng(0).random(SIZE)
    expected = (kernel @ values.ravel() / kernel.sum(1)).reshape(SIZE)
    np.testing.assert_allclose(position_mean(SIZE, sigma)(values), expected, atol=2e-3)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_the_lattice_gives_gaussian_means(dimensions):
    """Means of a smooth function at random points, within 0.06 of the brute-force sum, 0.02 on average; of 0 to 1."""
    rng = np.random.default_rng(dimensions)
    points = rng.random((dimensions, 900)) * 3
    values = 0.5 + 0.5 * np.sin(2 * points[0] + points.sum(0))
    kernel = gaussian(points)
    expected = kernel @ values / kernel.sum(1)
    blur = lattice_filter(points)
    found = blur(values) / blur(np.ones(900))
    assert np.abs(found - expected).max() < 0.06
    assert np.abs(found - expected).mean() < 0.02


def test_the_lattice_is_a_gaussian_of_deviation_one():
    """A single source in two dimensions: the response falls off as exp(−d²/2), averaged over where it stands."""
    rng = np.random.default_rng(0)
    offsets = np.array([0.0, 1.0, 2.0])
    responses = []
    for _ in range(200):
        origin, angle = rng.random(2) * 10, rng.random() * 2 * np.pi
        direction = np.array([np.cos(angle), np.sin(angle)])
        points = origin[:, None] + direction[:, None] * offsets
        responses.append(lattice_filter(np.concatenate([points, rng.random((2, 1))], 1))(np.array([1.0, 0, 0, 0]))[:3])
    response = np.mean(responses, axis=0)
    np.testing.assert_allclose(response / response[0], np.exp(-0.5 * offsets**2), atol=0.06)


def test_the_lattice_is_linear_and_keeps_a_constant():
    rng = np.random.default_rng(0)
    blur = lattice_filter(rng.random((5, 300)) * 4)
    first, second = rng.random(300), rng.random(300)
    np.testing.assert_allclose(blur(2 * first + second), 2 * blur(first) + blur(second), rtol=1e-5)
    np.testing.assert_allclose(blur(np.full(300, 0.7)) / blur(np.ones(300)), 0.7, rtol=1e-5)


@pytest.mark.parametrize("far", [50.0, 1e6])  # the keys of the latter need 64 bits
def test_points_apart_do_not_reach_each_other(far):
    blur = lattice_filter(np.array([[0.0, 0.1, far], [0.0, 0.1, far]]))
    found = blur(np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(found[:2], 0, atol=1e-12)
    assert found[2] > 0
    assert blur(np.array([1.0, 0.0, 0.0]))[1] > 0  # the near ones do


def test_points_too_far_apart_are_refused():
    with pytest.raises(ValueError, match="too far apart"):
        lattice_filter(np.array([[0.0, 1e9]] * 5))


def test_parameters_that_no_frame_fits_are_refused():
    with pytest.raises(ValidationError, match="colour_sigma"):
        Crf(**PAPER.model_dump() | {"colour_sigma": 0.001})


@pytest.mark.parametrize("colour_sigma", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_whole_refinement_is_near_brute_force(seed, colour_sigma):
    """With the paper's weights: at most 1 % of the pixels end on another side; probabilities 0.01 apart on average."""
    image, disc = picture(seed)
    settings = PAPER.model_copy(update={"colour_sigma": colour_sigma})
    probability = unsure(disc, seed)
    found, expected = refine(probability, image, settings), brute_force(probability, image, settings)
    assert ((found > 0.5) != (expected > 0.5)).mean() <= 0.01
    assert np.abs(found - expected).mean() < 0.01


def test_the_appearance_mean_is_near_brute_force():
    image, disc = picture(1)
    settings = PAPER.model_copy(update={"colour_sigma": 15.0})
    expected = (exact_kernels(image, settings)[1][1] @ disc.ravel().astype(float)).reshape(SIZE)
    found = appearance_mean(image, settings.colour_position_sigma, settings.colour_sigma)(disc.astype(float))
    assert np.abs(found - expected).max() < 0.1
    assert np.abs(found - expected).mean() < 0.02


def test_a_mask_takes_the_images_edge():
    """A square mask over a disc that stands out: after refinement it is the disc."""
    image, disc = picture(noise=1)
    square = np.full(SIZE, 0.2)
    square[4:15, 7:18] = 0.8
    assert ((square > 0.5) != disc).sum() > 8
    found = refine(square, image, PAPER.model_copy(update={"colour_sigma": 10.0})) > 0.5
    assert (found != disc).sum() <= 4


def test_without_iterations_or_weights_nothing_changes():
    image, disc = picture()
    probability = unsure(disc)
    for changes in ({"iterations": 0}, {"position_weight": 0.0, "colour_weight": 0.0}):
        np.testing.assert_allclose(refine(probability, image, PAPER.model_copy(update=changes)), probability, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_certainty_everywhere_stays(value):
    """Probabilities of exactly 0 and 1 have no logarithm; a constant image and a frame of one pixel are frames too."""
    for size in (SIZE, (1, 1), (1, 7)):
        image = np.full((*size, 3), 128, np.uint8)
        found = refine(np.full(size, value, np.float32), image, PAPER)
        assert found.shape == size
        np.testing.assert_allclose(found, value, atol=1e-5)
