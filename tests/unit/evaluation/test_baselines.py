"""The rows without learning: the box by hand, and an object that moves unlike the camera."""

import cv2
import numpy as np

from amd.evaluation.baselines import centre_box, flow_outliers
from amd.evaluation.metrics import jaccard


def test_the_box_is_a_centred_quarter():
    mask = centre_box(8, 12)
    assert mask.sum() == 4 * 6
    assert mask[2:6, 3:9].all()


def test_flow_outliers_finds_what_moves_unlike_the_camera():
    random = np.random.default_rng(0)
    texture = cv2.GaussianBlur(random.integers(0, 256, (160, 220, 3)).astype(np.float32), (0, 0), 2)
    texture = np.clip((texture - texture.mean()) * 4 + 128, 0, 255).astype(np.uint8)
    patch = np.roll(texture, 60, axis=1)[:40, :50]
    first, second = texture[8:136, 8:200].copy(), texture[8:136, 5:197].copy()  # the camera pans by 3 pixels
    first[40:80, 60:110], second[45:85, 53:103] = patch, patch  # the object goes the other way
    truth = np.zeros(first.shape[:2], bool)
    truth[40:80, 60:110] = True
    mask = flow_outliers(first, second)
    assert jaccard(mask, truth) > 0.7
    assert (mask == flow_outliers(first, second)).all()


def test_still_and_empty_frames_have_no_outliers():
    for size in ((64, 96), (6, 10)):  # the second is smaller than the grid that a homography is fitted to
        black = np.zeros((*size, 3), np.uint8)
        assert not flow_outliers(black, black).any()
