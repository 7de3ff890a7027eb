"""J, F and their statistics: hand-computed cases, brute force, and what must hold for any masks."""

import math

import numpy as np
import pytest

from amd.evaluation.metrics import boundary_f, jaccard, statistics


def mask_of(text: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in line] for line in text.split()])


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """A random mask of a few overlapping boxes, some of them over the edge."""
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(random.integers(1, 4)):
        top, left = random.integers(-5, height), random.integers(-5, width)
        mask[max(0, top) : top + random.integers(1, 20), max(0, left) : left + random.integers(1, 20)] ^= True
    return mask


def brute_boundary(mask: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    pixels = []
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(b < height and a < width and mask[b, a] != mask[y, x] for b, a in neighbours):
                pixels.append((y, x))
    return pixels


def brute_f(mask: np.ndarray, truth: np.ndarray) -> float:
    """F from the distance of every boundary pixel to every other one."""
    tolerance = math.ceil(0.008 * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2))
    found, wanted = brute_boundary(mask), brute_boundary(truth)
    if not found and not wanted:
        return 1.0
    if not found or not wanted:
        return 0.0

    def share_near(pixels: list, others: list) -> float:
        near = [min((y - b) ** 2 + (x - a) ** 2 for b, a in others) <= tolerance**2 for y, x in pixels]
        return sum(near) / len(near)

    precision, recall = share_near(found, wanted), share_near(wanted, found)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def test_jaccard_by_hand():
    mask, truth = mask_of("##.. ##.. ...."), mask_of(".##. .##. ....")
    assert jaccard(mask, truth) == 2 / 6
    assert jaccard(truth, truth) == 1
    assert jaccard(truth, ~truth) == 0


def test_jaccard_of_empty_masks():
    empty, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    assert jaccard(empty, empty) == 1
    assert jaccard(empty, full) == jaccard(full, empty) == 0


def test_boundary_f_by_hand():
    # Tolerance 1. A pixel's boundary is its upper left 2x2 block. The block of a pixel two to the right
    # shares no column with it, but its left column lies beside the first one's right column: half match.
    mask, truth = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    mask[4, 4] = truth[4, 6] = True
    assert boundary_f(mask, truth) == 0.5
    truth = np.zeros((10, 10), bool)
    truth[4, 8] = True
    assert boundary_f(mask, truth) == 0
    # A second object that the mask misses: precision 1, recall 1/2.
    truth[4, 4] = True
    assert boundary_f(mask, truth) == pytest.approx(2 / 3)
    assert boundary_f(truth, mask) == pytest.approx(2 / 3)


def test_boundary_f_without_boundaries():
    empty, full, some = np.zeros((8, 8), bool), np.ones((8, 8), bool), np.eye(8, dtype=bool)
    assert boundary_f(empty, empty) == boundary_f(empty, full) == 1  # neither has a boundary
    assert boundary_f(empty, some) == boundary_f(some, empty) == 0


@pytest.mark.parametrize("size", [(40, 40), (33, 150), (180, 60), (1, 50)])
def test_boundary_f_equals_brute_force(size: tuple[int, int]):
    """Tolerances of 1 and 2 pixels, objects at the frame's edges, several objects."""
    values = []
    for seed in range(12):
        mask, truth = blobs(seed, *size), blobs(seed + 100, *size)
        near = np.roll(truth, 1 + seed % 3, axis=1)
        values += [boundary_f(mask, truth), boundary_f(near, truth)]
        assert values[-2:] == [pytest.approx(brute_f(mask, truth)), pytest.approx(brute_f(near, truth))]
    assert len(set(values)) > 5


@pytest.mark.parametrize(("shift", "expected"), [(7, 1.0), (8, 1.0), (9, 0.0)])
def test_tolerance_at_480p_is_8_pixels(shift: int, expected: float):
    truth = np.zeros((480, 854), bool)
    truth[:, 300:] = True
    assert boundary_f(np.roll(truth, shift, axis=1)[:, 100:], truth[:, 100:]) == expected


def test_measures_of_any_masks():
    for seed in range(20):
        mask, truth = blobs(seed, 50, 70), blobs(seed + 50, 50, 70)
        for measure in (jaccard, boundary_f):
            assert 0 <= measure(mask, truth) <= 1
            assert measure(mask, truth) == pytest.approx(measure(truth, mask))
            assert measure(truth, truth) == 1
        assert boundary_f(~mask, ~truth) == boundary_f(mask, truth)
        assert jaccard(mask & truth, truth) >= jaccard(mask, truth)


@pytest.mark.parametrize("measure", [jaccard, boundary_f])
def test_wrong_arrays_are_refused(measure):
    mask = np.zeros((4, 5), bool)
    for wrong in (np.zeros((5, 4), bool), np.zeros((4, 5), np.uint8), np.zeros((4, 5, 1), bool)):
        with pytest.raises(ValueError, match="two bool masks"):
            measure(mask, wrong)
        with pytest.raises(ValueError, match="two bool masks"):
            measure(wrong, mask)


def test_statistics_by_hand():
    # 8 frames: edges at frames round(1 + 7/4 k) = 1, 3, 5 (4.5 rounds up), 6, 8 counted from 1.
    values = [0.9, 0.8, 0.7, 0.5, 0.6, 0.3, 0.2, 0.1]
    result = statistics(values)
    assert result.mean == pytest.approx(4.1 / 8)
    assert result.recall == 4 / 8  # 0.5 itself is not above 0.5
    assert result.decay == pytest.approx((0.9 + 0.8 + 0.7) / 3 - (0.3 + 0.2 + 0.1) / 3)


def test_statistics_round_halves_up():
    # 7 frames: linspace(1, 7, 5) = 1, 2.5, 4, 5.5, 7. DAVIS rounds 2.5 to 3, 5.5 to 6; numpy alone to 2.
    values = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    assert statistics(values).decay == pytest.approx(1 / 3 - 0.5 / 2)


def test_statistics_of_short_and_long_sequences():
    assert statistics([0.7]) == (0.7, 1.0, 0.0)
    assert statistics([0.75, 0.25]) == pytest.approx((0.5, 0.5, 0.5))
    # Past 255 frames, where 8-bit edges would wrap around.
    assert statistics(np.linspace(1, 0, 1001)).decay == pytest.approx(0.75)
    with pytest.raises(ValueError, match="one value per frame"):
        statistics([])
