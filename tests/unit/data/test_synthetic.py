"""The built-in corpus: repeatable, exactly labelled, moving as planned, encoded, and whole or absent."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from amd.config import Corpus
from amd.data.synthetic import drawing, scenes, shapes
from amd.data.synthetic.clips import clip_seed, encode, make_corpus, render_clip
from amd.evaluation.metrics import jaccard
from amd.runtime.files import sha256

STYLES = {"train": scenes.TRAIN, "heldout": scenes.HELDOUT}
TINY = {"train_clips": 3, "heldout_clips": 2, "frames": 5, "width": 64, "height": 48, "fps": 24.0, "seed": 3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "corpus"
    make_corpus(folder, Corpus(**TINY, workers=2))
    return folder


def decode(path: Path) -> tuple[str, np.ndarray]:
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context.name
        return codec, np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def planned(index: int, style: scenes.Style, frames: int) -> scenes.Plan:
    """The plan that render_clip draws for a clip, from the same stream."""
    motion, _ = np.random.default_rng([clip_seed(0, style, index), style.key]).spawn(2)
    return scenes.plan(motion, frames, 144, 256, style)


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The map 2,3 that takes a point from pose `first` to pose `second`, through 3x3 matrices."""
    square = [np.vstack([pose, [0, 0, 1]]) for pose in (first, second)]
    return (square[1] @ np.linalg.inv(square[0]))[:2]


# ---------------------------------------------------------------- a clip


def test_same_seed_same_clip_other_seed_other_clip():
    frames, labels = render_clip(7, 3, 48, 64)
    again, labels_again = render_clip(7, 3, 48, 64)
    assert frames.dtype == labels.dtype == np.uint8
    assert frames.shape == (3, 48, 64, 3)
    assert labels.shape == (3, 48, 64)
    np.testing.assert_array_equal(frames, again)
    np.testing.assert_array_equal(labels, labels_again)
    for other in (render_clip(8, 3, 48, 64), render_clip(7, 3, 48, 64, scenes.HELDOUT)):
        assert np.abs(frames.astype(int) - other[0]).mean() > 5
        assert (labels != other[1]).any()


@pytest.mark.parametrize("size", [(32, 32), (32, 200), (90, 48)])
def test_every_allowed_size_renders(size):
    for seed in range(4):
        frames, labels = render_clip(seed, 2, *size)
        assert frames.shape == (2, *size, 3)
        assert (labels > 0).any(axis=(1, 2)).all()


def test_mask_of_an_ellipse_is_the_ellipse():
    """A shape known by hand, turned and moved: every pixel centre inside it is labelled, no other."""
    ellipse = shapes.Shape((shapes.Part((0, 0), axes=(1.0, 0.5)),), rate=0.0)
    still = np.zeros(2)
    thing = scenes.Thing(ellipse, 40.0, 1, np.array([[70.0, 50.0], [73.0, 48.0]]), still + 0.5, still + 1)
    plan = scenes.Plan(np.tile(np.eye(2, 3), (2, 1, 1)), (thing,))
    _, labels = drawing.draw(np.random.default_rng(0), plan, 96, 128, scenes.TRAIN)
    y, x = np.mgrid[:96, :128]
    for label, (cx, cy) in zip(labels, thing.path):
        along = (x - cx) * np.cos(0.5) + (y - cy) * np.sin(0.5)
        across = (y - cy) * np.cos(0.5) - (x - cx) * np.sin(0.5)
        radius = np.hypot(along / 40, across / 20)
        sure = np.abs(radius - 1) > 1e-4
        np.testing.assert_array_equal(label[sure], (radius < 1)[sure])
    assert labels[0].sum() == pytest.approx(np.pi * 40 * 20, rel=0.01)


def test_measure_of_an_ellipse():
    area, span = shapes.measure(shapes.Shape((shapes.Part((0, 0), axes=(1.0, 0.5)),), rate=0.0))
    assert area == pytest.approx(np.pi * 0.5, rel=0.03)
    np.testing.assert_allclose(span, [2, 1], atol=0.05)


@pytest.mark.parametrize("name", STYLES)
def test_pixels_and_masks_move_as_planned(name):
    """Objects follow their pose and the background its camera, in pixels as in masks."""
    style = STYLES[name]
    for index in range(3):
        frames, labels = render_clip(clip_seed(0, style, index), 6, 144, 256, style)
        plan = planned(index, style, 6)
        assert labels.max() == len(plan.things)
        overlaps = []
        for t in (1, 3):
            camera = between(plan.cameras[t], plan.cameras[t + 1])
            far = cv2.dilate((labels[t : t + 2] > 0).any(axis=0).astype(np.uint8), np.ones((41, 41))) == 0
            far[:8], far[-8:], far[:, :8], far[:, -8:] = False, False, False, False
            assert residual(frames, t, camera, far) < 0.75 * residual(frames, t, np.eye(2, 3), far)
            for number, thing in enumerate(plan.things, start=1):
                motion = between(plan.pose(thing, t), plan.pose(thing, t + 1))
                before, after = labels[t] == number, labels[t + 1] == number
                moved = warp(before.astype(np.float32), motion) > 0.5
                followed = jaccard(moved, after)
                carried = jaccard(warp(before.astype(np.float32), camera) > 0.5, after)
                assert followed > carried + 0.02  # it moves with its pose, not with the scenery
                overlaps.append(followed)
                inner = cv2.erode(after.astype(np.uint8), np.ones((5, 5))) > 0
                assert residual(frames, t, motion, inner) < residual(frames, t, camera, inner)
        assert min(overlaps) > 0.85  # a wing's beat deforms it
        assert np.mean(overlaps) > 0.9


def warp(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, motion, image.shape[1::-1])


def residual(frames: np.ndarray, t: int, motion: np.ndarray, where: np.ndarray) -> float:
    """Mean grey difference of frame t+1 and frame t moved by `motion`, over `where`."""
    smooth = [cv2.GaussianBlur(frame, (0, 0), 1).astype(np.float32).mean(axis=2) for frame in frames[t : t + 2]]
    return float(np.abs(warp(smooth[0], motion) - smooth[1])[where].mean())


@pytest.mark.parametrize("name", STYLES)
def test_objects_are_of_good_size_keep_moving_and_stay_in_view(name):
    style = STYLES[name]
    slow, counts = [], []
    for index in range(40):
        plan = planned(index, style, 32)
        counts.append(len(plan.things))
        for thing in plan.things:
            centres = np.array([plan.pose(thing, t)[:, 2] for t in range(32)])
            assert (centres > 0).all()
            assert (centres < [256, 144]).all()
            background = [between(plan.cameras[t], plan.cameras[t + 1]) for t in range(31)]
            carried = [m[:, :2] @ c + m[:, 2] for m, c in zip(background, centres)]
            speed = np.linalg.norm(centres[1:] - carried, axis=1)
            assert 1.5 < speed.mean() < 5
            slow.append(speed < 1)
    assert np.mean(slow) < 0.05
    assert 0.15 < np.mean(np.array(counts) == 2) < 0.45
    clips = [render_clip(clip_seed(0, style, index), 3, 144, 256, style)[1] for index in range(8)]
    areas = np.array([(labels > 0).mean() for labels in clips])
    assert 0.08 < areas.mean() < 0.2
    assert areas.min() > 0.04
    assert areas.max() < 0.27


def test_training_and_heldout_clips_share_nothing():
    train, heldout = scenes.TRAIN, scenes.HELDOUT
    for part in ("hues", "coats", "grounds", "makers"):
        assert not set(getattr(train, part)) & set(getattr(heldout, part)), part
    seeds = [clip_seed(seed, style, index) for seed in (0, 1) for style in (train, heldout) for index in range(50)]
    assert len(set(seeds)) == len(seeds)


# ---------------------------------------------------------------- the corpus


def test_train_clips_are_h264_of_the_promised_length(corpus):
    paths = sorted((corpus / "train").iterdir())
    assert [path.name for path in paths] == ["clip-0000.mp4", "clip-0001.mp4", "clip-0002.mp4"]
    for index, path in enumerate(paths):
        codec, frames = decode(path)
        rendered, _ = render_clip(clip_seed(3, scenes.TRAIN, index), 5, 48, 64)
        assert codec == "h264"
        assert frames.shape == rendered.shape
        assert 0.5 < np.abs(frames.astype(float) - rendered).mean() < 8


def test_heldout_clips_are_in_the_davis_layout(corpus):
    root = corpus / "heldout"
    names = (root / "ImageSets/sequences.txt").read_text().splitlines()
    assert names == ["clip-0000", "clip-0001"]
    numbers = [f"{number:05d}" for number in range(5)]
    for index, name in enumerate(names):
        codec, frames = decode(root / f"videos/{name}.mp4")
        _, labels = render_clip(clip_seed(3, scenes.HELDOUT, index), 5, 48, 64, scenes.HELDOUT)
        images = sorted((root / "JPEGImages/480p" / name).iterdir())
        masks = sorted((root / "Annotations/480p" / name).iterdir())
        assert codec == "h264"
        assert [path.name for path in images] == [f"{number}.jpg" for number in numbers]
        assert [path.name for path in masks] == [f"{number}.png" for number in numbers]
        for image, mask, frame, label in zip(images, masks, frames, labels, strict=True):
            assert np.abs(np.asarray(Image.open(image)).astype(float) - frame).mean() < 4
            assert Image.open(mask).mode == "L"
            np.testing.assert_array_equal(np.asarray(Image.open(mask)), 255 * (label > 0))


def test_corpus_is_byte_identical_for_any_number_of_workers(corpus, tmp_path):
    make_corpus(tmp_path / "again", Corpus(**TINY, workers=1))
    assert hashes(tmp_path / "again") == hashes(corpus)


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_encoding_keeps_colours_and_rate(tmp_path):
    frames = np.empty((4, 32, 48, 3), np.uint8)
    frames[:] = np.array([200, 90, 30], np.uint8)
    encode(tmp_path / "flat.mp4", frames, 29.97)
    _, decoded = decode(tmp_path / "flat.mp4")
    assert np.abs(decoded.astype(int) - frames).max() <= 4
    with av.open(str(tmp_path / "flat.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.001)
