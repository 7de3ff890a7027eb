"""F-beta and MAE by hand and against an independent implementation; the command on real photos and saved maps."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import save_amd
from commands import refused
from PIL import Image
from projects import enter_project

from amd.cli import main
from amd.data.benchmarks.image_sets import open_images
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import write_labels, write_mask
from amd.evaluation.metrics import f_beta, mae
from amd.evaluation.saliency import open_saliency, score_saliency, write_saliency_sheet
from amd.runtime.errors import UserError
from stages import evaluate_saliency, run_stage

TRUTH = np.array([[True, True, False, False]])


def test_by_hand():
    saliency = np.array([[1.0, 0.2, 0.4, 0.0]])
    assert mae(saliency, TRUTH) == pytest.approx((0 + 0.8 + 0.4 + 0) / 4)
    f = f_beta(saliency, TRUTH)
    # Mean 0.4, threshold 0.8: the first pixel alone; precision 1, recall 1/2.
    assert f.adaptive == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))
    assert f.curve[255] == pytest.approx(f.adaptive)
    assert f.curve[0] == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))  # all four: precision 1/2, recall 1
    assert f.curve[60] == pytest.approx(1.3 * 0.25 / (0.3 * 0.5 + 0.5))  # pixels 1 and 3: both 1/2


def test_nothing_hit_and_wrong_inputs():
    assert f_beta(np.array([[0.0, 0.0, 1.0, 1.0]]), TRUTH).adaptive == 0
    for saliency, truth in ((np.full((1, 4), 2.0), TRUTH), (np.zeros((2, 4)), TRUTH), (np.full((1, 4), np.nan), TRUTH)):
        with pytest.raises(ValueError):
            mae(saliency, truth)
    with pytest.raises(ValueError, match="no object"):
        f_beta(np.zeros((1, 4)), TRUTH & False)


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_an_independent_implementation(shared_data: Path):
    other = pytest.importorskip("py_sod_metrics")
    random = np.random.default_rng(0)
    f_other, mae_other, ours, errors = other.Fmeasure(beta=0.3), other.MAE(), [], []
    for frame in open_images("duts", shared_data / "duts"):
        truth = read_truth(frame)
        saliency = np.clip(0.6 * truth + 0.5 * random.random(truth.shape) - 0.1, 0, 1)
        f_other.step(saliency, truth, normalize=False)
        mae_other.step(saliency, truth, normalize=False)
        ours.append(f_beta(saliency, truth))
        errors.append(mae(saliency, truth))
    expected = f_other.get_results()["fm"]
    curve = np.mean([f.curve for f in ours], axis=0)
    # Their curve runs from threshold 255 down to 0.
    np.testing.assert_allclose(curve[::-1], expected["curve"], atol=1e-4)
    assert np.mean([f.adaptive for f in ours]) == pytest.approx(expected["adp"], abs=1e-4)
    assert np.mean(errors) == pytest.approx(mae_other.get_results()["mae"], abs=1e-4)


def test_every_grey_value_is_its_own_threshold():
    levels = np.arange(256, dtype=np.uint8)[None]
    curve = f_beta(levels / 255, levels >= 128).curve
    assert curve.argmax() == 128
    assert curve.max() == 1


def test_the_command_on_saved_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, columns in {"a": 4, "b": 8}.items():
        truth = np.zeros((6, 16), bool)
        truth[:, :columns] = True
        write_labels(tmp_path / f"images/{name}.png", np.zeros((6, 16), np.uint8))
        write_mask(tmp_path / f"masks/{name}.png", truth)
        write_labels(tmp_path / f"maps/{name}.png", truth * np.uint8(255))
    command = ["saliency", "--dataset", "folder", "--root", str(tmp_path), "--predictions", str(tmp_path / "maps")]
    main([*command, "--json", str(tmp_path / "s.json")])
    scores = json.loads((tmp_path / "s.json").read_text())
    assert (scores["F"]["adaptive"], scores["F"]["max"]) == pytest.approx((1, 1))
    assert scores["MAE"] == 0
    assert scores["protocol"]["compared"].startswith("F adaptive")
    said = capsys.readouterr().out
    assert "F 1.000 (adaptive)" in said
    assert "all 5,019 test images of DUTS), F/MAE: AMD 0.602/0.13, RBD 0.510/0.20" in said
    write_labels(tmp_path / "maps/a.png", (np.arange(16) < 4) * np.ones((6, 1), np.uint8))
    assert "maps/a.png: no value above 1, where a map is grey from 0 to 255" in refused(capsys, main, command)
    write_labels(tmp_path / "maps/a.png", np.zeros((3, 3), np.uint8))
    assert "maps/a.png: 3x3 pixels where the frame has 16x6" in refused(capsys, main, command)
    (tmp_path / "maps/a.png").unlink()
    assert "maps/a.png: no such file" in refused(capsys, main, command)


def write_set(root: Path, truths: dict[str, np.ndarray]) -> None:
    """A folder of black images with their masks."""
    for name, truth in truths.items():
        write_labels(root / f"images/{name}.png", np.zeros(truth.shape, np.uint8))
        write_mask(root / f"masks/{name}.png", truth)


def test_an_image_without_object_has_no_f_and_counts_in_mae(tmp_path: Path):
    truth = np.zeros((2, 4), bool)
    write_set(tmp_path, {"empty": truth, "half": truth | (np.arange(4) < 2)})
    scores = score_saliency(open_saliency("folder", tmp_path), lambda frame: np.full((2, 4), 0.5), "")
    assert scores["images"] == {"empty": {"F_adaptive": None, "MAE": 0.5}, "half": {"F_adaptive": 0.0, "MAE": 0.5}}
    assert scores["F"]["max"] == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))  # everything: precision 1/2, recall 1
    assert scores["MAE"] == 0.5
    assert scores["protocol"]["without_object"].startswith("1,")
    write_set(tmp_path, {"half": truth})
    with pytest.raises(UserError, match="masks: no truth has an object"):
        score_saliency(open_saliency("folder", tmp_path), lambda frame: np.full((2, 4), 0.5), "")


def test_the_frames_of_a_video_benchmark_are_images_too(shared_data: Path):
    frames = open_saliency("davis2016", shared_data / "davis2016")
    assert len(frames) == 307
    assert frames[0].name == "blackswan/00001"  # the first frame does not count
    few = [frames[0], frames[-1]]
    scores = score_saliency(few, lambda frame: read_truth(frame).astype(float), "the truth")
    assert (scores["F"]["max"], scores["MAE"]) == (1, 0)
    with pytest.raises(UserError, match="voc2012: no images with masks; there are duts, folder, builtin-clips"):
        open_saliency("voc2012", shared_data / "voc2012")


def test_pictures_go_from_the_worst_map_to_the_best(tmp_path: Path):
    truth = np.zeros((160, 240), bool)
    truth[:, :120] = True
    write_set(tmp_path, {"good": truth, "bad": truth})
    frames = open_saliency("folder", tmp_path)
    write_saliency_sheet(
        tmp_path / "sheet.png",
        frames,
        lambda frame: truth * 1.0 if frame.name == "good" else 1.0 - truth,
        {"good": 0.0, "bad": 1.0},
    )
    with Image.open(tmp_path / "sheet.png") as picture:
        sheet = np.asarray(picture.convert("L"))
    # Rows of 160 below a title of 22, columns of 240, 4 apart: the left half of each map.
    assert (sheet[100, 300], sheet[100 + 164, 300]) == (0, 255)
    assert (sheet[100, 540], sheet[100 + 164, 540]) == (255, 255)  # the truth


def test_the_stage_scores_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = {"saliency": "folder", "saliency_root": "mine"}
    enter_project(tmp_path, {"data": data}, monkeypatch)
    truth = np.zeros((48, 64), bool)
    truth[10:30, 20:40] = True
    write_set(tmp_path / "mine", {"a": truth, "b": ~truth})
    save_amd("models/amd.safetensors")
    run_stage("evaluate_saliency", evaluate_saliency.main)
    report = json.loads(Path("metrics/saliency.json").read_text())
    assert report["protocol"]["images"] == 2
    assert report["MAE"] == pytest.approx(np.mean([image["MAE"] for image in report["images"].values()]))
    assert Path("metrics/saliency.png").stat().st_size > 1000
    enter_project(tmp_path, {"data": data | {"saliency_root": None}}, monkeypatch)
    run_stage("evaluate_saliency", evaluate_saliency.main)
    assert "data.saliency_root is empty" in json.loads(Path("metrics/saliency.json").read_text())["skipped"]
