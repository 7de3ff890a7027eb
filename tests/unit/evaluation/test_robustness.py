"""Corruptions by hand, and pooled scores against scikit-learn's confusion matrix."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_amd
from layouts import write_davis
from PIL import Image
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import confusion_matrix

from amd.cli import main
from amd.config.profiles import load_profile
from amd.data.benchmarks.davis import open_benchmark
from amd.evaluation.corruptions import (
    Version,
    add_noise,
    blur_edge,
    blur_motion,
    compress,
    edge_band,
    further,
    invert_foreground,
    occlude,
    slides,
    versions,
)
from amd.evaluation.metrics import confusion
from amd.evaluation.robustness import MEASURES, rates, run_robustness, score_robustness
from amd.runtime.errors import UserError

STRENGTHS = load_profile("quickstart").robustness
ALL = slides(STRENGTHS) | further(STRENGTHS)


def picture(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[10:30, 20:40] = True
    return image, mask


def benchmark(root: Path, image: np.ndarray, truths: list[np.ndarray]) -> Path:
    """One sequence whose first and last frame are left out."""
    return write_davis(root, "bear", ((image, truth) for truth in truths), "png")


def test_inversion_turns_foreground_colours_alone():
    image = np.array([[[0, 100, 255], [7, 8, 9]]], np.uint8)
    inverted = invert_foreground(image, np.array([[True, False]]))
    assert inverted.tolist() == [[[255, 155, 0], [7, 8, 9]]]
    assert image[0, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("width", [3, 3.9, 4, 6])
def test_the_band_agrees_with_scipy(width: float):
    mask = np.random.default_rng(1).random((50, 70)) > 0.97
    wanted = np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask)) - 0.5 < width / 2
    assert np.array_equal(edge_band(mask, width), wanted)


@pytest.mark.parametrize("value", [True, False])
def test_without_a_boundary_nothing_is_blurred(value: bool):
    image, mask = picture()
    assert np.array_equal(blur_edge(image, np.full_like(mask, value), 10, 3), image)


def test_blur_leaves_pixels_outside_the_band_untouched():
    image, mask = picture()
    blurred = blur_edge(image, mask, 8, 3)
    band = edge_band(mask, 8)
    assert np.array_equal(blurred[~band], image[~band])
    assert blurred[band].std() < 0.5 * image[band].std()


def test_a_blurred_step_follows_the_gaussian():
    image = np.zeros((41, 80, 3), np.uint8)
    mask = np.zeros((41, 80), bool)
    mask[:, 40:] = True
    image[mask] = 200
    row = blur_edge(image, mask, 20, 2.0)[20, :, 0].astype(float)
    weights = np.exp(-0.5 * (np.arange(-30, 31) / 2.0) ** 2)
    for x in range(40, 50):
        inside = weights[: 30 + (x - 40) + 1].sum() / weights.sum()  # sources at 40 and right of it
        assert row[x] == pytest.approx(200 * inside, abs=1.5)


def test_noise_has_its_deviation_and_depends_on_the_image():
    image, mask = np.full((200, 200, 3), 128, np.uint8), np.zeros((200, 200), bool)
    difference = add_noise(image, mask, 10).astype(float) - 128
    assert difference.std() == pytest.approx(10, rel=0.02)
    assert abs(difference.mean()) < 0.1
    other = add_noise(image + np.uint8(1), mask, 10).astype(float) - 129
    assert abs(np.corrcoef(difference.ravel(), other.ravel())[0, 1]) < 0.05


def test_lower_jpeg_quality_is_further_from_the_image():
    image, mask = picture()
    error = [np.abs(compress(image, mask, quality).astype(int) - image).mean() for quality in (95, 30, 5)]
    assert error[0] < error[1] < error[2]


def test_motion_blur_is_the_mean_of_a_row():
    image, mask = picture()
    blurred = blur_motion(image, mask, 5)
    assert np.allclose(blurred[7, 30], image[7, 28:33].mean(0), atol=0.51)


def test_the_bar_runs_through_the_foreground():
    image, mask = picture()
    changed = (occlude(image, mask, 0.1) != image).any(axis=(0, 2))
    assert changed.nonzero()[0].tolist() == list(range(27, 33))  # 6 of 60 columns around 30
    empty = (occlude(image, np.zeros_like(mask), 0.1) != image).any(axis=(0, 2))
    assert empty.nonzero()[0].tolist() == list(range(27, 33))


@pytest.mark.parametrize("name", ALL)
def test_every_corruption_is_pure_and_keeps_the_size(name: str):
    image, mask = picture()
    before = image.copy(), mask.copy()
    first, second = ALL[name](image, mask), ALL[name](image, mask)
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    assert np.array_equal(first, second)
    assert not np.array_equal(first, image)
    assert np.array_equal(image, before[0])
    assert np.array_equal(mask, before[1])


def test_confusion_by_hand():
    mask, truth = np.array([[1, 1], [0, 0]], np.uint8), np.array([[1, 0], [1, 0]], np.uint8)
    assert confusion(mask, truth, 2).tolist() == [[1, 1], [1, 1]]
    pooled = confusion(mask, truth, 2) + confusion(truth, truth, 2)
    assert rates(pooled) == dict(zip(MEASURES, (3 / 5, 3 / 5, 3 / 5, 3 / 4, 3 / 4, 3 / 4), strict=True))
    torn = rates(np.array([[6, 2], [1, 3]]))  # the foreground is the second class
    assert list(torn.values()) == pytest.approx([3 / 6, 6 / 9, 21 / 36, 3 / 4, 6 / 8, 3 / 4])


def test_shares_of_nothing_are_none():
    scores = rates(np.array([[4, 0], [0, 0]]))
    assert scores["foreground_iou"] is None
    assert scores["mean_accuracy"] is None
    assert scores["background_iou"] == 1.0


def test_scores_are_pooled_over_the_frames_that_count(tmp_path: Path):
    image, mask = picture()
    image[:] = 50
    image[:, 25:45] = 200  # what is bright is segmented
    truths = [~mask, mask, np.roll(mask, 7, 1), ~mask]
    sequences = open_benchmark("davis2016", benchmark(tmp_path, image, truths))
    made = [Version("normal", sequences, lambda image, truth: image), Version("inverted", sequences, invert_foreground)]
    scores = score_robustness(made, lambda name: lambda sequence, frame, image: image[..., 0] > 127)["scores"]
    bright = image[..., 0] > 127
    for name, found in {
        "normal": [bright, bright],
        "inverted": [np.where(truth, ~bright, bright) for truth in truths[1:3]],
    }.items():
        (tn, fp), (fn, tp) = confusion_matrix(np.ravel(truths[1:3]), np.ravel(found))
        assert scores[name]["foreground_iou"] == pytest.approx(tp / (tp + fp + fn))
        assert scores[name]["background_iou"] == pytest.approx(tn / (tn + fp + fn))
        assert scores[name]["foreground_accuracy"] == pytest.approx(tp / (tp + fn))
        assert scores[name]["background_accuracy"] == pytest.approx(tn / (tn + fp))


def test_a_truth_of_another_size_is_named(tmp_path: Path):
    image, mask = picture()
    root = benchmark(tmp_path, image, [mask, mask[:20], mask])
    with pytest.raises(UserError, match=r"bear/00001.png: 60x20 pixels, but its frame .* has 60x40"):
        score_robustness(versions(open_benchmark("davis2016", root), STRENGTHS), lambda name: bright)


def bright(sequence, frame, image: np.ndarray) -> np.ndarray:
    return image[..., 0] > 127


def test_a_benchmark_without_frames_that_count_is_refused(tmp_path: Path):
    image, mask = picture()
    sequences = open_benchmark("davis2016", benchmark(tmp_path, image, [mask, mask]))
    with pytest.raises(UserError, match=r"bear: no annotated frame counts there"):
        score_robustness(versions(sequences, STRENGTHS), lambda name: bright)


def test_a_frame_gap_keeps_every_third_frame_that_counts(tmp_path: Path):
    image, mask = picture()
    sequences = open_benchmark("davis2016", benchmark(tmp_path, image, [mask] * 9))
    gap = versions(sequences, STRENGTHS)[-1]
    assert gap.name == "frame_gap"
    assert [frame.name for _, frame in gap.frames()] == ["00001", "00004", "00007"]
    assert (gap.read(sequences[0].frames[4])[0] == image).all()


def test_written_frames_come_back_as_masks_of_another_method(tmp_path: Path):
    """Whoever thresholds the written frames gets the scores of the same threshold as a model."""
    image, mask = picture()
    truths = [mask, np.roll(mask, 5, 1), np.roll(mask, 9, 0), mask]
    root = benchmark(tmp_path / "davis", image, truths)
    frames, masks = tmp_path / "frames", tmp_path / "masks"
    main(["robustness", "--dataset", "davis2016", "--root", str(root), "--write-frames", str(frames), "--further"])
    names = [path.name for path in frames.iterdir()]
    assert sorted(names) == sorted(["normal", *ALL, "frame_gap"])
    assert len(list((frames / "inverted/bear").iterdir())) == len(truths), "those that do not count, too"
    main(["robustness", "--dataset", "davis2016", "--root", str(root), "--write-frames", str(tmp_path / "fewer")])
    assert sorted(path.name for path in (tmp_path / "fewer").iterdir()) == ["blurred", "inverted", "normal"]
    for path in frames.glob("*/*/*.png"):
        with Image.open(path) as written:
            pixels = np.asarray(written)
        out = masks / path.relative_to(frames)
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels[..., 0] > 127) * np.uint8(255)).save(out)
    ours = run_robustness("davis2016", root, STRENGTHS, predictions=masks, json_path=tmp_path / "scores.json")
    wanted = score_robustness(versions(open_benchmark("davis2016", root), STRENGTHS), lambda name: bright)
    assert ours["scores"] == wanted["scores"]
    assert ours["protocol"]["object"] == "masks as given"
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == ours["scores"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("normal/bear/00001.png", r"normal/bear/00001\.png: this prediction is missing"),
        ("sepia", r"sepia: not a version of the frames; there are normal, inverted, blurred"),
        ("empty", r"masks: no masks in it; give folders normal"),
        ("values", r"00001\.png: has the value 1; a mask has 0"),
        ("size", r"00000\.png: 40x60 pixels where the frame has 60x40"),
    ],
)
def test_saved_masks_that_do_not_fit_are_named(tmp_path: Path, harm: str, message: str):
    image, mask = picture()
    root, masks = benchmark(tmp_path / "davis", image, [mask] * 3), tmp_path / "masks"
    (masks / "normal/bear").mkdir(parents=True)
    for number in range(3):
        values = {"values": mask * np.uint8(1), "size": mask.T * np.uint8(255)}.get(harm, mask * np.uint8(255))
        Image.fromarray(values).save(masks / f"normal/bear/{number:05d}.png")
    if harm.endswith(".png"):
        (masks / harm).unlink()
    elif harm == "sepia":
        (masks / harm).mkdir()
    elif harm == "empty":
        masks.rename(tmp_path / "moved")
        masks.mkdir()
    with pytest.raises(UserError, match=message):
        run_robustness("davis2016", root, STRENGTHS, predictions=masks)


def test_the_command_writes_scores_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture):
    image, mask = picture(48, 64)
    root = benchmark(tmp_path / "davis", image, [mask] * 3)
    checkpoint = save_amd(tmp_path / "model.safetensors", short_edge=32)
    torch.set_num_threads(1)
    options = ["--json", tmp_path / "scores.json", "--pictures", tmp_path / "pictures", "--further", "--band", "9"]
    arguments = ["robustness", "--dataset", "davis2016", "--root", root, "--model", checkpoint, *options]
    main([str(argument) for argument in arguments])
    report = json.loads((tmp_path / "scores.json").read_text())
    assert list(report["scores"]) == ["normal", *ALL, "frame_gap"]
    assert report["protocol"]["frames_scored"] == 1
    assert report["protocol"]["strengths"]["band"] == 9
    assert "foreground iou" in capsys.readouterr().out
    with Image.open(tmp_path / "pictures" / "bear.png") as sheet:
        assert sheet.size == (7 * 244 + 4, 22 + 2 * 164)
