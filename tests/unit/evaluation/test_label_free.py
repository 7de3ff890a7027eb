"""Judging masks without labels: hand-made footage in which a square moves, masks that are right, wrong or too much."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from amd.evaluation.judged import Figures, common, drift, mean_figures
from amd.evaluation.label_free import judge_masks
from amd.motion.footage import Footage

HEIGHT, WIDTH, FRAMES, SPEED = 40, 60, 6, 3
FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def square(number: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:25, 5 + SPEED * number : 20 + SPEED * number] = True
    return mask


def flow(source: np.ndarray, by: int) -> np.ndarray:
    """The square goes `by` cells to the right, the ground stays."""
    return np.stack([np.where(source, by, 0), np.zeros_like(source, int)]).astype(np.float32)


TRUTH = [square(number) for number in range(FRAMES)]
FLOWS = [(flow(first, SPEED), flow(second, -SPEED)) for first, second in pairwise(TRUTH)]
MAPS = [np.where(mask, 0.9, 0.1).astype(np.float32) for mask in TRUTH]
SEEN = Footage([FRAME] * FRAMES, MAPS, [True] * FRAMES, list(FLOWS))


def test_a_perfect_mask_gives_one_and_an_inverted_one_nothing():
    right = judge_masks(TRUTH, SEEN)
    assert (right.agreement, right.stability, right.odd) == (1.0, 1.0, 0.0)
    assert right.area == pytest.approx(15 * 15 / (HEIGHT * WIDTH))
    assert right.problem == ""
    inverted = judge_masks([~mask for mask in TRUTH], SEEN)
    assert inverted.agreement == 0.0
    assert "most of the frame" in inverted.problem


def test_a_mask_that_covers_all_or_nothing_is_refused_and_one_that_jumps_too():
    everything, nothing = (judge_masks([np.full_like(mask, value) for mask in TRUTH], SEEN) for value in (True, False))
    assert everything.agreement == pytest.approx(225 / (HEIGHT * WIDTH))
    assert everything.stability == 1.0
    assert "(mean area 1.00)" in everything.problem
    assert (nothing.agreement, nothing.stability) == (0.0, None)
    assert "of nothing" in nothing.problem
    still = replace(SEEN, sure=[False] * FRAMES)  # where nothing moves for sure, no object may be right
    assert judge_masks([np.zeros_like(mask) for mask in TRUTH], still) == Figures(None, None, 0.0, 0.0, None)
    jumping = [mask if number % 2 else np.roll(mask, 20, 0) for number, mask in enumerate(TRUTH)]
    assert "stability 0.000" in judge_masks(jumping, SEEN).problem


def test_frames_without_sure_evidence_and_cuts_do_not_count():
    wrong = [np.roll(mask, 20, 0) if number == 2 else mask for number, mask in enumerate(TRUTH)]
    assert judge_masks(wrong, SEEN).agreement == pytest.approx(5 / 6)
    assert judge_masks(wrong, SEEN).stability == pytest.approx(3 / 5)
    seen = replace(SEEN, sure=[number != 2 for number in range(FRAMES)])
    seen = replace(seen, flows=[None if number in (1, 2) else flow for number, flow in enumerate(FLOWS)])
    assert (judge_masks(wrong, seen).agreement, judge_masks(wrong, seen).stability) == (1.0, 1.0)


def test_means_and_what_two_models_share():
    one, other = Figures(0.2, 0.9, 0.0, 0.1, None), Figures(0.6, None, 1.0, 0.3, 1.5)
    assert mean_figures([one, other]) == Figures(pytest.approx(0.4), 0.9, 0.5, 0.2, 1.5)
    assert "worse than if nothing moved" in mean_figures([one, other]).problem
    assert mean_figures([]) == Figures(None, None, None, None, None)
    assert mean_figures([]).problem == ""
    assert common({"a": one, "b": one, "c": replace(one, agreement=None)}, {"b": other, "c": other, "d": one}) == ["b"]


def test_drift_is_over_the_videos_in_which_both_have_a_figure():
    old = {"a": Figures(0.5, 0.8, 0.0, 0.2, None), "b": Figures(0.3, None, 0.0, 0.2, 1.0)}
    new = {"a": Figures(0.4, 0.9, 0.5, 0.2, None), "b": Figures(0.4, 0.7, 0.0, 0.1, None), "c": Figures(0, 0, 1, 1, 9)}
    assert drift(new, old) == {"agreement": 0.0, "stability": 0.1, "odd": 0.25, "area": -0.05}
    assert drift(new, {}) == {}
