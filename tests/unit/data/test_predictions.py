"""Predictions on disk that are missing, stray, misshapen or of other values: each is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import refused
from PIL import Image
from squares import predict, shift, square

from amd.cli import main
from amd.data.benchmarks.davis import Sequence
from amd.data.benchmarks.predictions import check_predictions
from amd.data.images import read_labels, read_mask, write_labels, write_mask
from amd.evaluation.vos import score_masks
from amd.runtime.errors import UserError
from amd.runtime.files import read_json


def error_of(sequences: list[Sequence], folder: Path) -> str:
    with pytest.raises(UserError) as error:
        score_masks(sequences, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def with_a_palette(folder: Path) -> None:
    palette = Image.fromarray(square(7).astype(np.uint8))
    palette.putpalette([0, 0, 0, 255, 255, 255])  # it looks like a mask
    palette.save(folder / "bear/00002.png")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (  # a frame that is left out is still asked for
            lambda folder: (folder / "dog/00003.png").unlink(),
            "/dog/00003.png: this prediction is missing (1 of the 4 annotated frames of dog",
        ),
        (lambda folder: shutil.rmtree(folder / "dog"), "/dog: the predictions of sequence dog are missing"),
        (shutil.rmtree, ": no such folder"),
        (
            lambda folder: write_mask(folder / "bear/00004.png", square(0).T),
            "/bear/00004.png: 30x40 pixels where the frame has 40x30",
        ),
        (
            lambda folder: write_labels(folder / "bear/00002.png", square(7).astype(np.uint8)),
            "/bear/00002.png: has the value 1;",
        ),
        (
            with_a_palette,
            "/bear/00002.png: has the value 1; a mask has 0 (background) and 255 (object) alone: write 255 for every "
            "object of a palette",
        ),
        (lambda folder: (folder / "bear/00002.png").write_bytes(b""), "/bear/00002.png: not a readable image"),
    ],
)
def test_predictions_that_are_wrong_are_named(sequences: list[Sequence], tmp_path: Path, harm, message: str):
    folder = predict(sequences, tmp_path / "p", shift(0))
    harm(folder)
    assert error_of(sequences, folder).startswith(f"{folder}{message}")


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


def test_a_sequence_with_nothing_to_score(sequences: list[Sequence], tmp_path: Path):
    short = Sequence("bear", tuple(sequences[0].frames[i] for i in (0, -1)), "davis2016")
    folder = predict([short], tmp_path / "p", shift(0))
    assert "sequence bear has no frame to score" in error_of([short], folder)


def score(dataset: str, root: Path, predictions: Path, out: Path) -> dict:
    main(["score", "--dataset", dataset, "--root", str(root), "--predictions", str(predictions), "--json", str(out)])
    return read_json(out)


def test_saliency_maps_from_elsewhere(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
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
    assert "no such file" in refused(capsys, score, "duts", root, tmp_path / "maps", tmp_path / "s.json")


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
    words = ("voc2012", root, tmp_path / "maps", tmp_path / "s.json")
    assert ".png: 3x2 pixels where the frame has " in refused(capsys, score, *words)
