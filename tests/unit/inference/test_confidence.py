"""Confidence: its measures by hand, and what is refused for which reason."""

import numpy as np
import pytest

from amd.config.fused import Confidence
from amd.inference.confidence import judge_frame, judge_video
from amd.inference.fusion import Opinion

LIMITS = Confidence(largest_area=0.6, least_decided=0.4, least_agreement=0.3)


def opinion(*rows: list[float], weight: float = 1.0) -> Opinion:
    return weight, np.array(rows, np.float32)


def test_measures_by_hand() -> None:
    evidence = opinion([1.0, 0.6, 0.0, 0.2])
    appearance = opinion([0.8, 0.6, 0.4, 0.0])
    found = judge_frame([evidence, appearance], LIMITS)  # means 0.9, 0.6, 0.2, 0.1: two are masked
    assert found.area == pytest.approx(0.5)
    assert found.decided == pytest.approx((1.0 + 0.2) / 2)  # of the evidence, which says that two move
    assert found.agreement == pytest.approx((0.8 + 0.6) / (1.0 + 0.6 + 0.4 + 0.2))
    assert found.sure
    assert found.value == pytest.approx(found.decided * found.agreement)


def test_a_video_is_judged_by_all_its_pixels_together() -> None:
    frames = [[opinion([1.0, 1.0, 1.0, 1.0])], [opinion([0.0, 0.0, 0.0, 0.0])], [opinion([0.0, 0.0, 0.0, 0.9])]]
    found = judge_video(frames, LIMITS)
    assert found.area == pytest.approx(5 / 12)
    assert found.decided == pytest.approx((4 * 1.0 + 0.8) / 5)
    assert found.agreement == pytest.approx(1)
    assert found.sure


@pytest.mark.parametrize(
    ("evidence", "appearance", "reason"),
    [
        ([1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], "75% of the frame"),
        ([0.6, 0.0, 0.0, 0.0], [0.6, 0.0, 0.0, 0.0], "for sure (0.20)"),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], "for sure (0.00)"),
        ([1.0, 1.0, 0.0, 0.0], [0.9, 0.0, 1.0, 1.0], "disagree"),
    ],
)
def test_what_is_refused(evidence: list[float], appearance: list[float], reason: str) -> None:
    found = judge_video([[opinion(evidence), opinion(appearance)]], LIMITS)
    assert not found.sure
    assert found.value == 0
    assert found.reason.startswith("no confident object in the video: ")
    assert reason in found.reason


def test_opinions_of_other_sizes_and_weights() -> None:
    evidence = opinion([0.9, 0.0], weight=0.0)
    appearance = opinion([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    found = judge_frame([evidence, appearance], LIMITS)
    assert found.area == pytest.approx(0.5)  # the appearance alone has a say in the mask
    assert found.agreement < 0.3  # but not in whether the two agree


def test_a_frame_where_the_object_rests_is_kept_and_one_that_is_all_object_is_not() -> None:
    rests = [opinion([0.0, 0.0, 0.0, 0.0]), opinion([1.0, 0.0, 0.0, 0.0], weight=3.0)]
    assert judge_frame(rests, LIMITS).sure
    assert not judge_video([rests], LIMITS).sure
    everywhere = judge_frame([opinion([1.0, 1.0, 1.0, 1.0])], LIMITS)
    assert "this frame" in everywhere.reason
