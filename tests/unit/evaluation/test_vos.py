"""Scores of predictions: perfect and shifted ones, on hand-made layouts and on real DAVIS masks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import write_params
from squares import HEIGHT, LENGTHS, WIDTH, predict, predict_segments, shift, square

from amd.cli import main
from amd.data.benchmarks.davis import BenchmarkFrame, Sequence, davis2016
from amd.data.images import write_mask
from amd.data.tables import SCORES, read_table, write_table
from amd.evaluation.published import COMPARED, VOS
from amd.evaluation.vos import run_score, score_masks, score_run
from amd.runtime.errors import UserError
from stages import evaluate_vos, run_stage
from stages.receipts import MOVING


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


def test_a_sequence_without_object_is_named(sequences: list[Sequence], tmp_path: Path):
    folder = predict(sequences, tmp_path / "p", shift(0))
    empty = np.zeros((HEIGHT, WIDTH), bool)
    for frame in sequences[1].scored_frames[1:]:
        write_mask(frame.truth, empty)
    assert score_masks(sequences, folder)["sequences"]["dog"]["J"]["mean"] == 0.5  # one frame has its object
    write_mask(sequences[1].scored_frames[0].truth, empty)
    with pytest.raises(UserError, match="480p/dog: no object in any annotation that counts"):
        score_masks(sequences, folder)


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
    for choice, scores in report["scores"]["image"].items():
        assert scores["protocol"]["object"].startswith(choice)
        assert {"threshold", "post_processing", "supervision"} <= scores["protocol"].keys()
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


def test_the_stage_writes_scores(sequences: list[Sequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = {"benchmark": "davis2016", "benchmark_root": str(tmp_path / "davis")}
    write_params(tmp_path / "params.yaml", {"data": data, "model": {"segments": 4}})
    for kind in ("image", "adapted"):
        predict(sequences, tmp_path / "predictions" / kind / "masks/davis2016", shift(4))
        predict_segments(sequences, tmp_path / "predictions" / kind / "segments/davis2016")
    for pixels, kind in enumerate(MOVING):
        predict(sequences, tmp_path / "predictions/adapted" / kind / "davis2016", shift(pixels))
    monkeypatch.chdir(tmp_path)
    run_stage("evaluate_vos", evaluate_vos.main)
    report = json.loads(Path("metrics/vos.json").read_text())
    assert report["summary"]["adapted"]["label_free_J"] == pytest.approx(60 / 140)
    assert list(report["scores"]["adapted"]) == ["label-free", "oracle"]
    assert list(report["baselines"]) == ["centre_box", "flow_outliers"]
    rows = read_table("metrics/vos.parquet", SCORES)
    assert [report["moving"][kind]["mean"]["J"]["mean"] for kind in MOVING] == pytest.approx([1, 90 / 110])
    assert len(rows) == 8 + 4 + 4
    assert {row["choice"] for row in rows[8:12]} == {"label-free"}
    assert {row["choice"] for row in rows[12:]} == {"none"}


def test_the_score_command(sequences: list[Sequence], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The scores of every sequence, and ours beside the published."""
    folder = predict(sequences, tmp_path / "p", shift(4))
    arguments = ["--root", tmp_path / "davis", "--predictions", folder, "--json", tmp_path / "out/scores.json"]
    main(["score", "--dataset", "davis2016", *map(str, arguments)])
    written = json.loads((tmp_path / "out/scores.json").read_text())
    assert written.pop("baselines").keys() == {"centre_box", "flow_outliers"}
    assert written["protocol"]["compared"] == "sequences"
    assert written.pop("published")["J"]["ARP, with annotated saliency"] == 0.762
    assert written == score_masks(sequences, folder)
    lines = (said := capsys.readouterr().out).splitlines()
    assert "masks               0.429       0.429       0.429" in said
    assert "J compared with the literature's: over sequences" in said
    assert "published, full benchmark (20 sequences, 1,376 frames), J over sequences: AMD, per image 0.457" in said
    assert lines[0].split() == [
        "sequence",
        "J",
        "mean",
        "J",
        "recall",
        "J",
        "decay",
        "F",
        "mean",
        "F",
        "recall",
        "F",
        "decay",
    ]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["bear", "0.429", "0.000", "0.000"],
        ["dog", "0.429", "0.000", "0.000"],
        ["mean", "0.429", "0.000", "0.000"],
    ]
    assert "left_out: first and last frame of every sequence" in lines
    run_score("davis2016", tmp_path / "davis", folder, None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.json"]


def test_every_benchmark_names_the_average_that_is_compared():
    assert COMPARED == {
        "davis2016": "sequences", "segtrackv2": "frames", "fbms59": "frames", "youtubevos": "pooled"
    }  # fmt: skip
    assert VOS["segtrackv2"]["AMD, adapted"] == 0.57
    assert VOS["fbms59"]["SAGE"] == 0.612


def test_folders_of_amd_segment_are_predictions_too(sequences: list[Sequence], tmp_path: Path):
    flat, nested = predict(sequences, tmp_path / "p", shift(4)), tmp_path / "segmented"
    for folder in flat.iterdir():
        shutil.copytree(folder, nested / folder.name / "masks")
    (nested / "summary.json").write_text("{}")
    assert score_masks(sequences, nested) == score_masks(sequences, flat)
