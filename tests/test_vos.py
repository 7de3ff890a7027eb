"""Scores of predictions: perfect, shifted and broken ones, on hand-made layouts and on real DAVIS masks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from amd.data.benchmarks import BenchmarkFrame, Sequence, davis2016
from amd.data.images import read_mask, write_labels, write_mask
from amd.errors import UserError
from amd.evaluation.predictions import check_predictions, prediction_path, read_segments
from amd.evaluation.vos import oracle_segment, run_score, score_masks, score_prediction, score_run
from amd.tables import SCORES, read_table, write_table
from stages import evaluate_vos, run_stage

HEIGHT, WIDTH = 30, 40
LENGTHS = {"bear": 5, "dog": 4}


def square(left: int) -> np.ndarray:
    """A 10x10 object whose left edge is at column `left`."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:20, left : left + 10] = True
    return mask


@pytest.fixture
def sequences(tmp_path: Path) -> list[Sequence]:
    """DAVIS with two sequences, the object moving one pixel a frame from column 5 on."""
    root = tmp_path / "davis"
    for name, length in LENGTHS.items():
        (root / "JPEGImages/480p" / name).mkdir(parents=True)
        for number in range(length):
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / f"JPEGImages/480p/{name}/{number:05d}.jpg")
            write_mask(root / f"Annotations/480p/{name}/{number:05d}.png", square(5 + number))
    return davis2016(root)


def predict(sequences: list[Sequence], folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Write `change(truth)` of every frame as its predicted mask."""
    for sequence in sequences:
        for frame in sequence.frames:
            mask = change(read_mask(frame.truth))
            write_mask(prediction_path(folder, sequence.name, frame.name), mask)
    return folder


def shift(pixels: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda truth: np.roll(truth, pixels, axis=1)


def predict_segments(sequences: list[Sequence], folder: Path) -> Path:
    """Label maps of a model with 4 segments: 2 is the object, 1 is beside it, 0 is the rest, 3 is nowhere."""
    for sequence in sequences:
        for frame in sequence.frames:
            truth = read_mask(frame.truth)
            labels = np.where(truth, 2, np.where(np.roll(truth, 10, axis=1), 1, 0)).astype(np.uint8)
            write_labels(prediction_path(folder, sequence.name, frame.name), labels)
    return folder


def error_of(sequences: list[Sequence], folder: Path) -> str:
    with pytest.raises(UserError) as error:
        score_masks(sequences, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_perfect_prediction(sequences: list[Sequence], tmp_path: Path):
    scores = score_masks(sequences, predict(sequences, tmp_path / "p", shift(0)))
    perfect = {"mean": 1.0, "recall": 1.0, "decay": 0.0}
    assert scores["mean"] == {"J": perfect, "F": perfect}
    assert scores["sequences"] == {"bear": scores["mean"], "dog": scores["mean"]}
    assert list(scores) == ["protocol", "mean", "averages", "sequences"]


def test_a_shifted_prediction_by_hand(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(4))
    # Two pixels of shift in one of dog's two frames that count.
    write_mask(folder / "dog/00001.png", np.roll(square(6), 2, axis=1))
    scores = score_masks(sequences, folder)
    j_4, j_2 = 60 / 140, 80 / 120  # overlap and union of 10x10 squares
    assert scores["sequences"]["bear"]["J"] == pytest.approx({"mean": j_4, "recall": 0, "decay": 0})
    dog = {"mean": (j_2 + j_4) / 2, "recall": 0.5, "decay": j_2 - j_4}
    # Quarters of two frames: edges at frames 1, 1, 2, 2, 2; the first is frame 1, the last is frame 2.
    assert scores["sequences"]["dog"]["J"] == pytest.approx(dog)
    mean = {key: (scores["sequences"]["bear"]["J"][key] + dog[key]) / 2 for key in dog}
    assert scores["mean"]["J"] == pytest.approx(mean)
    assert scores["averages"]["sequences"]["J"] == pytest.approx(mean["mean"])
    assert scores["averages"]["frames"]["J"] == pytest.approx((4 * j_4 + j_2) / 5)
    assert scores["averages"]["pooled"]["J"] == pytest.approx((4 * 60 + 80) / (4 * 140 + 120))


def test_the_first_and_last_frame_do_not_count(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    for name, length in LENGTHS.items():
        for number in (0, length - 1):
            write_mask(folder / name / f"{number:05d}.png", np.zeros((HEIGHT, WIDTH), bool))
    scores = score_masks(sequences, folder)
    assert scores["mean"]["J"]["mean"] == 1
    assert scores["protocol"]["frames_scored"] == 5
    assert scores["protocol"]["frames_left_out"] == 4
    assert scores["protocol"]["left_out"] == "first and last frame of every sequence"
    write_mask(folder / "bear/00001.png", np.zeros((HEIGHT, WIDTH), bool))
    assert score_masks(sequences, folder)["sequences"]["bear"]["J"]["mean"] == pytest.approx(2 / 3)


def test_frames_without_truth_are_not_scored(sequences: list[Sequence], tmp_path: Path):
    """Sparse truth, as FBMS has it: a frame without truth needs no prediction and may have one."""
    folder = predict(sequences, tmp_path / "p", shift(0))
    bear = sequences[0]
    frames = tuple(
        BenchmarkFrame(frame.name, frame.image, frame.truth if number % 2 else None)
        for number, frame in enumerate(bear.frames)
    )
    (folder / "bear/00000.png").unlink()
    write_mask(folder / "bear/00002.png", np.zeros((HEIGHT, WIDTH), bool))
    sparse = [Sequence("bear", frames, "other"), sequences[1]]
    scores = score_masks(sparse, folder)
    assert scores["mean"]["J"]["mean"] == 1
    assert scores["protocol"]["frames_scored"] == 2 + 2
    assert scores["protocol"]["left_out"] == "none"


def test_real_davis_against_its_own_annotations(shared_data: Path):
    root = shared_data / "davis2016"
    scores = score_masks(davis2016(root), root / "Annotations/480p")
    perfect = {"mean": 1.0, "recall": 1.0, "decay": 0.0}
    assert scores["mean"] == {"J": perfect, "F": perfect}
    assert scores["averages"]["pooled"]["J"] == 1
    assert scores["protocol"]["frames_scored"] == 307


def test_real_davis_shifted(shared_data: Path, tmp_path: Path):
    """J of masks moved by 9 pixels, computed here with Pillow and arithmetic on 0 and 255 alone."""
    root = shared_data / "davis2016"
    (sequence,) = (item for item in davis2016(root) if item.name == "car-shadow")
    folder = predict([sequence], tmp_path / "p", shift(9))
    expected = []
    for number in range(1, 39):
        with Image.open(root / f"Annotations/480p/car-shadow/{number:05d}.png") as image:
            truth = np.asarray(image).astype(int) // 255
        moved = np.concatenate([truth[:, -9:], truth[:, :-9]], axis=1)
        expected.append((truth * moved).sum() / np.maximum(truth, moved).sum())
    result = score_masks([sequence], folder)["sequences"]["car-shadow"]
    assert result["J"]["mean"] == pytest.approx(np.mean(expected), abs=1e-12)
    # 38 frames: quarters meet at frames round(1 + 37/4 k) = 1, 10, 20, 29, 38.
    assert result["J"]["decay"] == pytest.approx(np.mean(expected[:10]) - np.mean(expected[28:]), abs=1e-12)
    assert 0.8 < result["J"]["mean"] < 0.95
    assert 0.5 < result["F"]["mean"] < 1  # moved by one pixel more than the tolerance of 8


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
    expected = f"{folder / 'bear/00004.png'}: 30x40 pixels where the annotation has 40x30"
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


def test_the_oracle_finds_the_object_segment(sequences: list[Sequence], tmp_path: Path):
    folder = predict_segments(sequences, tmp_path / "s")
    assert oracle_segment(sequences, folder, 4) == 2


def test_the_oracle_weighs_sequences_alike(sequences: list[Sequence], tmp_path: Path):
    """Segment 1 is better over frames, segment 2 over sequences, which is what counts."""
    folder = tmp_path / "s"
    for sequence in sequences:
        for frame in sequence.frames:
            truth = read_mask(frame.truth)
            part = truth.copy()
            part[: 11 if sequence.name == "bear" else 20] = False  # 90 % of bear, nothing of dog
            labels = np.where(part, 1, np.where(truth, 2, 0)).astype(np.uint8)
            write_labels(prediction_path(folder, sequence.name, frame.name), labels)
    # J over frames: segment 1 (3 x 0.9 + 2 x 0) / 5 = 0.54, segment 2 0.46. Over sequences: 0.45 and 0.55.
    assert oracle_segment(sequences, folder, 3) == 2


def test_the_oracle_is_the_best_of_all_segments_as_masks(sequences: list[Sequence], tmp_path: Path):
    random = np.random.default_rng(3)
    write_mask(sequences[0].frames[2].truth, np.zeros((HEIGHT, WIDTH), bool))  # an object that is away
    for sequence in sequences:
        for frame in sequence.frames:
            labels = random.integers(0, 3, (HEIGHT, WIDTH), np.uint8)
            labels[read_mask(frame.truth) & (random.random((HEIGHT, WIDTH)) < 0.5)] = 1
            labels[labels == 2] = random.choice([0, 2])  # segment 2 is absent from some frames
            write_labels(prediction_path(tmp_path / "s", sequence.name, frame.name), labels)
            for segment in range(3):
                path = prediction_path(tmp_path / str(segment), sequence.name, frame.name)
                write_mask(path, labels == segment)
    scores = [score_masks(sequences, tmp_path / str(k))["mean"]["J"]["mean"] for k in range(3)]
    assert len(set(scores)) == 3
    assert oracle_segment(sequences, tmp_path / "s", 3) == np.argmax(scores)


def test_a_segment_that_the_model_does_not_have(sequences: list[Sequence], tmp_path: Path):
    folder = predict_segments(sequences, tmp_path / "s")
    with pytest.raises(UserError, match=r"bear/00001\.png: has segment 2, but the model has 2"):
        oracle_segment(sequences, folder, 2)
    with pytest.raises(UserError, match=r"00001\.png: 40x30 pixels where the annotation has 30x40"):
        read_segments(folder / "bear/00001.png", (40, 30), 4)


def test_label_free_comes_before_the_oracle(sequences: list[Sequence], tmp_path: Path):
    predict(sequences, tmp_path / "masks/davis2016", shift(4))
    predict_segments(sequences, tmp_path / "segments/davis2016")
    scores = score_prediction(sequences, tmp_path, 4)
    assert list(scores) == ["label-free", "oracle"]
    assert scores["label-free"]["mean"]["J"]["mean"] == pytest.approx(60 / 140)
    assert scores["oracle"]["mean"]["J"]["mean"] == 1
    assert scores["oracle"]["segment"] == 2
    assert scores["label-free"]["protocol"]["object"].startswith("label-free")
    assert scores["oracle"]["protocol"]["object"].startswith("oracle")
    assert {"threshold", "post_processing", "supervision"} <= scores["oracle"]["protocol"].keys()


def test_rows_and_summary_of_a_run(sequences: list[Sequence], tmp_path: Path):
    for kind, pixels in {"image": 4, "adapted": 2}.items():
        predict(sequences, tmp_path / kind / "masks/davis2016", shift(pixels))
        predict_segments(sequences, tmp_path / kind / "segments/davis2016")
    folders = {"image": tmp_path / "image", "adapted": tmp_path / "adapted"}
    report, rows = score_run(sequences, folders, 4)
    assert list(report["summary"]) == ["image", "adapted"]
    assert report["summary"]["image"]["label_free_J"] == pytest.approx(60 / 140)
    assert report["summary"]["adapted"]["label_free_J"] == pytest.approx(80 / 120)
    assert report["summary"]["adapted"]["oracle_J"] == report["summary"]["adapted"]["oracle_F"] == 1
    assert report["summary"]["image"]["oracle_segment"] == 2
    write_table(tmp_path / "vos.parquet", SCORES, rows)
    table = read_table(tmp_path / "vos.parquet", SCORES)
    keys = [(row["prediction"], row["choice"], row["sequence"], row["segment"], row["frames"]) for row in table]
    assert keys[:4] == [
        ("image", "label-free", "bear", None, 3),
        ("image", "label-free", "dog", None, 2),
        ("image", "oracle", "bear", 2, 3),
        ("image", "oracle", "dog", 2, 2),
    ]
    assert [key[0] for key in keys[4:]] == ["adapted"] * 4
    assert table[5]["J_mean"] == pytest.approx(80 / 120)
    assert table[5]["J_recall"] == 1
    assert all(row["F_mean"] is not None and row["dataset"] == "davis2016" for row in table)


def test_the_stage_writes_scores(
    sequences: list[Sequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    params = YAML(typ="safe").load(request.config.rootpath / "params.yaml")
    params["data"]["benchmark_root"] = str(tmp_path / "davis")
    params["model"]["segments"] = 4
    YAML().dump(params, tmp_path / "params.yaml")
    for kind in ("image", "adapted"):
        predict(sequences, tmp_path / "predictions" / kind / "masks/davis2016", shift(4))
        predict_segments(sequences, tmp_path / "predictions" / kind / "segments/davis2016")
    monkeypatch.chdir(tmp_path)
    run_stage("evaluate_vos", evaluate_vos.main)
    report = json.loads(Path("metrics/vos.json").read_text())
    assert report["summary"]["adapted"]["label_free_J"] == pytest.approx(60 / 140)
    assert list(report["scores"]["adapted"]) == ["label-free", "oracle"]
    assert list(report["baselines"]) == ["centre_box", "flow_outliers"]
    rows = read_table("metrics/vos.parquet", SCORES)
    assert len(rows) == 8 + 4
    assert {row["choice"] for row in rows[8:]} == {"none"}


def test_the_score_command(sequences: list[Sequence], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = predict(sequences, tmp_path / "p", shift(4))
    run_score("davis2016", tmp_path / "davis", folder, tmp_path / "out/scores.json")
    written = json.loads((tmp_path / "out/scores.json").read_text())
    assert written.pop("baselines").keys() == {"centre_box", "flow_outliers"}
    assert written == score_masks(sequences, folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "sequence",
        *("J", "mean", "J", "recall", "J", "decay"),
        *("F", "mean", "F", "recall", "F", "decay"),
    ]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["bear", "0.429", "0.000", "0.000"],
        ["dog", "0.429", "0.000", "0.000"],
        ["mean", "0.429", "0.000", "0.000"],
    ]
    assert "left_out: first and last frame of every sequence" in lines
    run_score("davis2016", tmp_path / "davis", folder, None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.json"]
