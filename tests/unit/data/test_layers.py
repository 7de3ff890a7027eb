"""Layered clips: what is drawn, and that the truth is what moves on its own."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from amd.data.images import write_image
from amd.data.synthetic.layer_motion import Camera, Motion, draw_camera, object_motion, scenery_motion
from amd.data.synthetic.layer_shapes import MARGIN, object_shape
from amd.data.synthetic.layer_textures import Textures, load_textures
from amd.data.synthetic.layers import Layer, _blurred, _spray, draw_clip, draw_frame
from amd.runtime.errors import UserError

SIZE = (64, 96)
TIMES = (-2, -1, 0, 1, 2)
STILL = Motion(SIZE, np.zeros(2), np.zeros(2))


@pytest.fixture(scope="module")
def textures() -> Textures:
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (400, 300)) for _ in range(4)]
    return Textures(pictures, drawn=0.0)


def test_a_seed_is_a_clip(textures: Textures) -> None:
    first, again, other = (draw_clip(textures, seed, TIMES, SIZE, empty=0) for seed in (7, 7, 8))
    assert first.frames.shape == (5, *SIZE, 3)
    assert first.frames.dtype == np.uint8
    assert first.truth.shape == (5, *SIZE)
    assert (first.frames == again.frames).all()
    assert (first.truth == again.truth).all()
    assert (first.frames != other.frames).any()


def test_most_clips_have_an_object_and_empty_ones_none(textures: Textures) -> None:
    shares = [draw_clip(textures, seed, (0,), SIZE, empty=0).truth.mean() for seed in range(30)]
    assert np.mean(np.array(shares) > 0) > 0.85  # the others' are hidden
    assert 0.01 < np.mean(shares) < 0.4
    assert not any(draw_clip(textures, seed, (0,), SIZE, empty=1).truth.any() for seed in range(10))


def test_the_truth_moves_with_the_object(textures: Textures) -> None:
    """A square that moves by (3, -2) pixels a frame, on a still ground, and its truth at each time."""
    padded = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
    ground = Layer(np.full((*padded, 3), 10, np.uint8), np.ones(padded, np.float32), STILL, "scenery")
    thing = _square(Motion(SIZE, np.array([3.0, -2.0]), np.zeros(2)))
    for time in (-2, 0, 3):
        image, seen = draw_frame([ground, thing], time, SIZE)
        expected = np.zeros(SIZE, bool)
        expected[20 - 2 * time : 40 - 2 * time, 30 + 3 * time : 50 + 3 * time] = True
        assert (seen == expected).all()
        assert np.allclose(image[expected], 255, atol=0.01)
        assert np.allclose(image[~expected], 10, atol=0.01)


def test_scenery_before_an_object_hides_it() -> None:
    padded = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
    everywhere, left = np.ones(padded, np.float32), np.ones(padded, np.float32)
    left[:, MARGIN + 48 :] = 0
    colours = [np.full((*padded, 3), value, np.uint8) for value in (1, 2, 3)]
    layers = [
        Layer(colours[0], everywhere, STILL, "scenery"),
        Layer(colours[1], everywhere, STILL, "object"),
        Layer(colours[2], left, STILL, "scenery"),
    ]
    _, seen = draw_frame(layers, 0, SIZE)
    assert not seen[:, :48].any()
    assert seen[:, 48:].all()


def _square(motion: Motion) -> Layer:
    """A white square of 20 pixels from (20, 30) on, as an object."""
    padded = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
    cover = np.zeros(padded, np.float32)
    cover[MARGIN + 20 : MARGIN + 40, MARGIN + 30 : MARGIN + 50] = 1
    return Layer(np.full((*padded, 3), 255, np.uint8), cover, motion, "object")


def test_motion_blur_smears_a_cover_along_its_shift() -> None:
    """A shutter open for half of the time of 8 pixels across: the border's ramp is 4 pixels wide, and only sideways."""
    moving = _square(Motion(SIZE, np.array([8.0, 0.0]), np.zeros(2)))
    cover = _blurred(moving, 0.5).cover
    row, column = cover[MARGIN + 30], cover[:, MARGIN + 40]
    ramp = (row > 0.01) & (row < 0.99)
    assert 3 <= ramp[: MARGIN + 40].sum() <= 5
    assert row.sum() == pytest.approx(20, abs=0.01)
    assert (column == moving.cover[:, MARGIN + 40]).mean() > 0.99
    still = _square(STILL)
    assert _blurred(still, 0.5) is still


def test_spray_trails_behind_the_foot_and_is_background(textures: Textures) -> None:
    """Of a thing that runs to the right before a still camera it lies to the left of its foot's middle."""
    thing = _square(Motion(SIZE, np.array([6.0, 0.0]), np.zeros(2)))
    for seed in range(5):
        spray = _spray(np.random.default_rng(seed), SIZE, Camera(STILL, STILL), thing)
        columns = np.nonzero(spray.cover > 0.3)[1]
        assert spray.role == "shadow"
        assert len(columns)
        assert columns.mean() < MARGIN + 40
        assert -1 <= spray.motion.shift[0] <= 6.5  # it drifts after it, and at times in the wind


def test_maps_of_a_turn_and_a_zoom_by_hand() -> None:
    """A quarter turn a frame about (10, 10), and twice the size: what was right of the centre comes below it."""
    motion = Motion((21, 21), np.zeros(2), np.zeros(2), turn=np.pi / 2, zoom=float(np.log(2)), centre=(10.0, 10.0))
    x, y = motion.maps(1)
    assert (x[18, 10], y[18, 10]) == pytest.approx((14, 10), abs=1e-4)
    assert (motion.maps(0)[0] == np.arange(21)[None]).all()


def test_scenery_keeps_the_cameras_direction_and_objects_do_not() -> None:
    alike, own = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        camera = draw_camera(rng, (240, 428))
        shift = camera.plain.shift
        if not shift.any():
            continue
        scenery, thing = scenery_motion(rng, (240, 428), camera), object_motion(rng, (240, 428), camera, 40.0)
        if not scenery.swaying:
            alike.append(scenery.shift @ shift / np.linalg.norm(scenery.shift) / np.linalg.norm(shift))
        own.append(np.linalg.norm(thing.shift - shift))
    assert np.min(alike) > 0.999
    assert np.min(own) > 0.3


def test_shapes_cover_a_share_of_the_frame() -> None:
    covers = [object_shape(np.random.default_rng(seed), (240, 428))[0] for seed in range(20)]
    inside = [cover[MARGIN:-MARGIN, MARGIN:-MARGIN].mean() for cover in covers]
    assert min(inside) > 0.002
    assert max(inside) < 0.6
    assert all(cover.min() >= 0 and cover.max() <= 1 + 1e-6 for cover in covers)


def test_textures_of_a_folder(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", np.full((400, 500, 3), 80 * number, np.uint8))
    textures = load_textures(tmp_path, drawn=0.0)
    assert [picture.shape for picture in textures.pictures] == [(360, 450, 3)] * 3
    assert textures.scene(np.random.default_rng(0), (50, 60)).shape == (50, 60, 3)


def test_folders_without_textures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no video"):
        load_textures(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load_textures(tmp_path / "none")
