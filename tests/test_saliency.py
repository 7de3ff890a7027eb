"""F-beta and MAE by hand and against an independent implementation; the command on real photos and saved maps."""

import json
from pathlib import Path

import numpy as np
import pytest

from amd.cli import main
from amd.data.image_sets import open_images
from amd.data.images import write_labels, write_mask
from amd.data.sequences import read_truth
from amd.saliency_metrics import f_beta, mae

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
    assert "F 1.000 (adaptive)" in capsys.readouterr().out
    write_mask(tmp_path / "masks/a.png", np.zeros((6, 16), bool))
    assert "masks/a.png: an empty truth" in fails(capsys, command)
    write_labels(tmp_path / "maps/a.png", np.zeros((3, 3), np.uint8))
    assert "the map 3x3" in fails(capsys, command)
    (tmp_path / "maps/a.png").unlink()
    assert "maps/a.png: no such file" in fails(capsys, command)


def fails(capsys: pytest.CaptureFixture[str], command: list[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    return capsys.readouterr().err
