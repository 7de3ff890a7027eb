"""What moves as depth does: shares worked out by hand for a camera that moves 4 pixels to the right a frame."""

import pytest
import torch

from amd.motion.parallax import Parallax

CAMERA = torch.tensor([4.0, 0.0])


def share(*own: tuple[float, float], camera: torch.Tensor = CAMERA, probability: float = 0.9) -> float:
    """Of things of equal size, by what they have beyond the camera's motion; half of the frame is the scene."""
    residual = torch.zeros(1, 2, 2, 4, 4 * len(own))
    evidence = torch.zeros(1, 4, 4 * len(own))
    for number, vector in enumerate(own):
        residual[..., :2, 4 * number : 4 * number + 4] = torch.tensor(vector)[:, None, None]
        evidence[..., :2, 4 * number : 4 * number + 4] = probability
    counted = Parallax()
    counted.add(evidence, residual + camera[:, None, None], residual)
    return counted.share


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((4.0, 0.0), 1.0),  # twice as near
        ((-2.0, 0.0), 1.0),  # twice as far
        ((-4.0, 0.0), 0.0),  # followed by the camera
        ((-8.0, 0.0), 0.0),  # against it
        ((9.0, 0.0), 0.0),  # 3.25 times as fast: nothing is that near
        ((0.0, 3.0), 0.0),  # across
        ((3.0, 1.0), 1.0),  # 18 degrees off: sine 0.32
        ((3.0, 1.2), 0.0),  # 22 degrees off: sine 0.37
    ],
)
def test_what_moves_along_with_the_camera_may_be_depth(own, expected):
    assert share(own) == expected


def test_the_share_is_of_all_that_moves_and_of_a_whole_video():
    assert share((4.0, 0.0), (0.0, 3.0), (0.0, -3.0), (-2.0, 0.0)) == pytest.approx(0.5)
    assert share((4.0, 0.0), camera=torch.tensor([0.2, 0.0])) == 0.0  # a camera that rests
    assert share((4.0, 0.0), probability=0.5) == 0.0  # nothing moves for sure
    assert Parallax().share == 0.0
