"""Predictions on disk that are missing, stray, misshapen or of other values: each is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from squares import moving_squares, predict, shift, square

from amd.cli import main
from amd.data.benchmarks.davis import Sequence
from amd.data.benchmarks.predictions import check_predictions
from amd.data.images import read_labels, read_mask, write_labels, write_mask
from amd.evaluation.vos import score_masks
from amd.runtime.errors import UserError
from amd.runtime.files import read_json


@pytest.fixture
def sequences(tmp_path: Path) -> list[Sequence]:
    return moving_squares(tmp_path / "davis")


def error_of(sequences: list[Sequence], folder: Path) -> str:
    with pytest.raises(UserError) as error:
        score_masks(sequences, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_frame(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    (folder / "dog/00003.png").unlink()  # a frame that is left out is still asked for
    message = f"{folder / 'dog/00003.png'}: this prediction is missing (1 of the 4 annotated frames of dog"
    assert error_of(sequences, folder).startswith(message)


def test_a_missing_sequence_or_folder(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    shutil.rmtree(folder / "dog")
    assert error_of(sequences, folder) == f"{folder / 'dog'}: the predictions of sequence dog are missing"
    assert error_of(sequences, tmp_path / "no").startswith(f"{tmp_path / 'no'}: no such folder")


def test_stray_folders_and_files(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    (folder / "dog/.00001.png.abc.part").touch()  # what a killed run leaves is no prediction
    check_predictions(sequences, folder)
    for stray, what in {
        "cat/00000.png": "cat: not a sequence",
        "notes.txt": "notes.txt: not a sequence",
        "dog/00004.png": "dog/00004.png: not a frame of sequence dog",
        "dog/00001.jpg": "dog/00001.jpg: not a frame of sequence dog",
        "dog/more/00001.png": "dog/more: not a frame of sequence dog",
    }.items():
        write_mask(folder / stray, square(0))
        assert error_of(sequences, folder).startswith(f"{folder}/{what}")
        (folder / stray).unlink()
        if not any((folder / stray).parent.iterdir()):
            (folder / stray).parent.rmdir()
    check_predictions(sequences, folder)


def test_a_wrong_size(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    write_mask(folder / "bear/00004.png", square(0).T)
    expected = f"{folder / 'bear/00004.png'}: 30x40 pixels where the frame has 40x30"
    assert error_of(sequences, folder).startswith(expected)


def test_values_that_no_mask_has(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    write_labels(folder / "bear/00002.png", square(7).astype(np.uint8))
    assert error_of(sequences, folder).startswith(f"{folder / 'bear/00002.png'}: has the value 1;")


def test_a_prediction_that_does_not_decode(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    (folder / "bear/00002.png").write_bytes(b"")
    assert error_of(sequences, folder).startswith(f"{folder / 'bear/00002.png'}: not a readable image")


def test_a_sequence_with_nothing_to_score(sequences: list[Sequence], tmp_path: Path):
    short = Sequence("bear", tuple(sequences[0].frames[i] for i in (0, -1)), "davis2016")
    folder = predict([short], tmp_path / "p", shift(0))
    assert "sequence bear has no frame to score" in error_of([short], folder)


def test_a_palette_where_0_and_255_are_expected(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    palette = Image.fromarray(square(7).astype(np.uint8))
    palette.putpalette([0, 0, 0, 255, 255, 255])  # it looks like a mask
    palette.save(folder / "bear/00002.png")
    message = error_of(sequences, folder)
    assert message.startswith(
        f"{folder / 'bear/00002.png'}: has the value 1; a mask has 0 (background) and 255 (object)"
    )
    assert "palette" in message


def score(dataset: str, root: Path, predictions: Path, out: Path) -> dict:
    main(["score", "--dataset", dataset, "--root", str(root), "--predictions", str(predictions), "--json", str(out)])
    return read_json(out)


def test_saliency_maps_from_elsewhere(shared_data: Path, tmp_path: Path):
    root = shared_data / "duts"
    masks = root / "DUTS-TE-Mask"
    for path in masks.iterdir():
        with Image.open(path) as image:
            mask = np.asarray(image.convert("L"))
        write_labels(tmp_path / "maps" / path.name, mask // 2)
    scores = score("duts", root, tmp_path / "maps", tmp_path / "s.json")
    assert scores["F"]["max"] == pytest.approx(1.0, abs=1e-4)
    shares = [read_mask(path).mean() for path in masks.iterdir()]
    assert scores["MAE"] == pytest.approx(np.mean(shares) * (1 - 127 / 255), abs=1e-3)  # half of every object is missed
    next((tmp_path / "maps").iterdir()).unlink()
    with pytest.raises(SystemExit, match="2"):
        score("duts", root, tmp_path / "maps", tmp_path / "s.json")


def test_class_maps_from_elsewhere(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, person = shared_data / "voc2012", 15
    for name in (root / "ImageSets/Segmentation/val.txt").read_text().split():
        labels = read_labels(root / f"SegmentationClass/{name}.png")
        write_labels(tmp_path / f"maps/{name}.png", np.where(labels == 255, 0, labels).astype(np.uint8))
    scores = score("voc2012", root, tmp_path / "maps", tmp_path / "s.json")
    assert scores["mIoU"] == scores["pixel_accuracy"] == 1.0
    assert scores["classes"]["person"]["pixels"] == sum(
        (read_labels(root / f"SegmentationClass/{path.name}") == person).sum() for path in (tmp_path / "maps").iterdir()
    )
    write_labels(next((tmp_path / "maps").iterdir()), np.full((2, 3), 1, np.uint8))
    with pytest.raises(SystemExit, match="2"):
        score("voc2012", root, tmp_path / "maps", tmp_path / "s.json")
    assert ".png: 3x2 pixels where the frame has " in capsys.readouterr().err
