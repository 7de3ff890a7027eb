"""mIoU against scikit-learn; void, absent classes, mistakes; the command on saved labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import refused
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score
from voc import labels_of, write_image, write_voc

from amd.cli import main
from amd.data.benchmarks.image_sets import voc2012
from amd.data.images import write_labels
from amd.evaluation.metrics import class_ious, confusion
from amd.evaluation.semantic import saved_labels, score_semantic
from amd.evaluation.semantic_figure import draw_labels, palette
from amd.runtime.errors import UserError

NAMES = ["background", "red", "green", "blue"]


def test_a_class_that_is_only_predicted_has_no_hit():
    assert class_ious(confusion(np.array([[0, 3]], np.uint8), np.zeros((1, 2), np.uint8), 4)) == [0.5, None, None, 0.0]


def test_agreement_with_scikit_learn():
    random = np.random.default_rng(0)
    truth = random.integers(0, 21, (40, 50)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = 255
    predicted = np.where(random.random(truth.shape) < 0.6, truth % 21, random.integers(0, 21, truth.shape)).astype(
        np.uint8
    )
    known = truth != 255
    counts = confusion(predicted, truth, 21)
    np.testing.assert_array_equal(counts, confusion_matrix(truth[known], predicted[known], labels=range(21)))
    expected = jaccard_score(truth[known], predicted[known], labels=range(21), average=None)
    np.testing.assert_allclose(class_ious(counts), expected)


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 3)
    with pytest.raises(ValueError, match="value 3"):
        confusion(np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8), 3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOC2012")


def test_pixels_are_pooled_over_images(root: Path):
    frames = voc2012(root)
    truths = [labels_of(number) for number in range(3)]
    scores = score_semantic(frames, lambda frame: np.zeros((48, 64), np.uint8), NAMES, "nothing found")
    background = sum(np.count_nonzero(truth == 0) for truth in truths)
    labelled = sum(np.count_nonzero(truth != 255) for truth in truths)
    assert scores["mIoU"] == pytest.approx(background / labelled / 4)
    assert scores["pixel_accuracy"] == pytest.approx(background / labelled)
    assert scores["classes"]["red"] == {"IoU": 0.0, "pixels": 24 * 28}
    assert scores["classes_scored"] == 4


def test_an_image_without_any_label_counts_for_nothing_and_a_set_of_them_is_an_error(root: Path):
    frames = voc2012(root)
    perfect = lambda frame: np.where(labels_of(int(frame.name[3:])) == 255, 0, labels_of(int(frame.name[3:])))
    write_image(root, "val1", np.full((48, 64), 255, np.uint8))
    scores = score_semantic(frames, perfect, NAMES, "")
    assert scores["mIoU"] == 1
    assert scores["classes"]["green"] == {"IoU": None, "pixels": 0}
    for name in ("val0", "val2"):
        write_image(root, name, np.full((48, 64), 255, np.uint8))
    with pytest.raises(UserError, match="SegmentationClass: all 3 images are void everywhere"):
        score_semantic(frames, perfect, NAMES, "")


def test_the_command_on_saved_labels(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(3):
        truth = labels_of(number)
        write_labels(tmp_path / f"labels/val{number}.png", np.where(truth == 255, 3, truth).astype(np.uint8))
    command = ["semantic", "--root", str(root), "--predictions", str(tmp_path / "labels")]
    main([*command, "--json", str(tmp_path / "s.json"), "--pictures", str(tmp_path / "p.png")])
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["mIoU"] == 1
    assert list(scores["classes"]) == NAMES
    assert scores["protocol"]["images"] == 3
    assert "mIoU 1.000" in capsys.readouterr().out
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.width > 3 * 240
        assert np.asarray(picture.convert("RGB")).std() > 10
    for content, message in (
        (np.full((48, 64), 4, np.uint8), "val1: the prediction has the value 4; classes are 0 to 3"),
        (np.zeros((9, 9), np.uint8), "val1.png: 9x9 pixels where the frame has 64x48"),
    ):
        write_labels(tmp_path / "labels/val1.png", content)
        assert message in refused(capsys, main, command)
    (tmp_path / "labels/val1.png").unlink()
    assert "labels/val1.png: no such file" in refused(capsys, main, command)
    assert f"did you mean {root}?" in refused(capsys, main, ["semantic", "--root", str(tmp_path), *command[3:]])
    write_labels(root / "SegmentationClass/val0.png", np.full((48, 64), 200, np.uint8))
    assert "val0.png: value 200 is no class" in refused(capsys, main, command)


def test_saved_labels_may_be_palette_pictures(tmp_path: Path, root: Path):
    picture = Image.fromarray(labels_of(0))
    picture.putpalette(list(palette().ravel()))
    picture.save(tmp_path / "val0.png")
    np.testing.assert_array_equal(saved_labels(tmp_path)(voc2012(root)[0]), labels_of(0))


def test_colours_are_those_of_voc():
    colours = palette()
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[15].tolist() == [192, 128, 128]  # person
    assert len(np.unique(colours[:21], axis=0)) == 21
    image = np.full((2, 2, 3), 100, np.uint8)
    drawn = draw_labels(image, np.array([[0, 1], [2, 255]], np.uint8))
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert drawn[0, 1, 0] > drawn[0, 1, 1]
