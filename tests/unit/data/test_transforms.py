"""Paired augmentation: one geometry for both frames, and every size it may meet."""

import numpy as np
import pytest

from amd.data.pairs.transforms import PairTransform, resize


def coordinates(height: int, width: int, blue: int) -> np.ndarray:
    """A frame whose red says the column and whose green says the row, as a share of 250."""
    frame = np.full((height, width, 3), blue, np.uint8)
    frame[..., 0] = np.round(250 * (np.arange(width) + 0.5) / width)
    frame[..., 1] = np.round(250 * (np.arange(height) + 0.5) / height)[:, None]
    return frame


@pytest.mark.parametrize("size", [(120, 200), (200, 120), (101, 133), (480, 853), (60, 90)])
def test_both_frames_get_the_same_crop_of_the_same_scale(size):
    transform = PairTransform(short_edge=100, min_ratio=0.96, crop=90)
    for seed in range(8):
        first, second = transform(coordinates(*size, 10), coordinates(*size, 200), np.random.default_rng(seed))
        assert first.shape == second.shape == (90, 90, 3)
        assert first.dtype == second.dtype == np.uint8
        np.testing.assert_array_equal(first[..., :2], second[..., :2])
        assert (first[..., 2] == 10).all()
        assert (second[..., 2] == 200).all()


def test_the_crop_lies_on_straight_lines_of_one_scale():
    """From the coordinates in the crop: the scale is in range on both axes and the crop inside the frame."""
    height, width = 240, 320
    transform = PairTransform(short_edge=120, min_ratio=0.8, crop=80)
    scales, lefts, tops = [], [], []
    for seed in range(60):
        frame = coordinates(height, width, 0)
        crop, _ = transform(frame, frame, np.random.default_rng(seed))
        columns, rows = crop[..., 0].mean(axis=0), crop[..., 1].mean(axis=1)
        assert np.abs(np.diff(columns, n=2)).max() < 2.5  # straight, but for rounding
        across = abs(columns[-1] - columns[0]) / 250 * width / 79  # source pixels per crop pixel
        down = (rows[-1] - rows[0]) / 250 * height / 79
        assert across == pytest.approx(down, rel=0.04)
        scales.append(1 / down * height / 120)
        lefts.append(min(columns[0], columns[-1]))
        tops.append(rows[0])
    assert 0.78 < min(scales) < 0.84
    assert 0.96 < max(scales) < 1.02
    assert max(lefts) - min(lefts) > 80  # the crop moves in both directions
    assert max(tops) - min(tops) > 40


def test_half_of_the_pairs_are_mirrored_left_to_right_and_none_upside_down():
    frame = coordinates(100, 150, 0)
    transform = PairTransform(short_edge=100, min_ratio=1.0, crop=64)
    mirrored = 0
    for seed in range(200):
        crop, _ = transform(frame, frame, np.random.default_rng(seed))
        mirrored += crop[0, 0, 0] > crop[0, -1, 0]
        assert crop[0, 0, 1] < crop[-1, 0, 1]
    assert 70 < mirrored < 130


def test_without_freedom_the_crop_is_the_frame_or_its_mirror_image():
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    crop, _ = PairTransform(96, 1.0, 96)(frame, frame, np.random.default_rng(1))
    assert (crop == frame).all() or (crop == frame[:, ::-1]).all()


def test_rounding_never_makes_the_frame_smaller_than_the_crop():
    frame = coordinates(997, 1003, 0)
    for seed in range(50):
        crop, _ = PairTransform(96, 0.9996, 96)(frame, frame, np.random.default_rng(seed))
        assert crop.shape == (96, 96, 3)


def test_the_same_generator_gives_the_same_crop():
    frame = coordinates(120, 160, 0)
    transform = PairTransform(100, 0.9, 80)
    crops = [transform(frame, frame, np.random.default_rng(seed))[0] for seed in (3, 3, 4)]
    assert (crops[0] == crops[1]).all()
    assert (crops[0] != crops[2]).any()


def test_shrinking_averages_and_growing_interpolates():
    board = np.zeros((64, 64, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    assert (resize(board, 32, 32) == 100).all()  # a point sample would be 0 or 200
    ramp = np.repeat(np.repeat(np.array([[0, 100]], np.uint8), 2, axis=0)[..., None], 3, axis=2)
    assert resize(ramp, 4, 4)[0, :, 0].tolist() == [0, 25, 75, 100]


def test_frames_of_two_sizes_are_no_pair():
    with pytest.raises(ValueError, match="shapes"):
        PairTransform(100, 1.0, 80)(coordinates(100, 100, 0), coordinates(100, 101, 0), np.random.default_rng(0))
