"""What `amd segment` says of masks that should not be trusted unseen."""

import numpy as np
import pytest

from amd.inference.export import MaskedFrame
from amd.inference.inputs import _Tally


def doubts(*frames: tuple[float, str]) -> list[str]:
    """Of frames with half of their pixels masked, given by their confidence and the reason to refuse them."""
    tally, image = _Tally(), np.zeros((4, 6, 3), np.uint8)
    for number, (confidence, reason) in enumerate(frames):
        mask = np.full((4, 6), not reason)
        tally.add(MaskedFrame(number, str(number), 0.0, image, mask, confidence=confidence, reason=reason))
    return tally.doubts()


@pytest.mark.parametrize(("second", "said"), [(0.3, []), (0.28, ["not sure of the object (0.19)"])])
def test_a_low_mean_confidence_is_said(second: float, said: list[str]) -> None:
    assert [each.split(";")[0] for each in doubts((0.1, ""), (second, ""))] == said


def test_refused_frames_do_not_make_the_others_unsure() -> None:
    assert doubts((0.3, ""), (0.0, "too large"), (0.0, "too large")) == ["too large (2 frames)"]
    assert doubts((0.0, "nothing moves"), (0.0, "nothing moves")) == ["nothing moves"]
    assert doubts((0.1, ""), (0.0, "too large"))[1].startswith("not sure of the object (0.10); look at the masks")


def test_frames_without_a_mask_are_counted_where_they_are_many() -> None:
    tally, image = _Tally(), np.zeros((4, 6, 3), np.uint8)
    for number in range(8):
        mask = np.full((4, 6), number < 6)
        tally.add(MaskedFrame(number, str(number), 0.0, image, mask, confidence=0.9))
        assert tally.doubts() == []  # at most a quarter
    tally.add(MaskedFrame(8, "8", 0.0, image, np.zeros((4, 6), bool), confidence=0.9))
    assert tally.doubts() == ["no object is seen in 3 of 9 frames"]
