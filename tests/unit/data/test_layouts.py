"""Benchmarks in every layout: predicted and scored by the stages, and masks from elsewhere scored by the command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import save_amd
from layouts import write_fbms, write_segtrack, write_youtube
from PIL import Image
from projects import write_params

from amd.cli import main
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import write_mask
from amd.runtime.files import read_json
from stages import evaluate_vos, predict, run_stage
from stages.receipts import MOVING

LAYOUTS: dict[str, tuple[Callable[[Path], Path], int]] = {  # and the frames that count
    "segtrackv2": (write_segtrack, 6),
    "fbms59": (write_fbms, 3),
    "youtubevos": (write_youtube, 1),
}


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_a_layout_is_predicted_and_scored(dataset: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write, scored = LAYOUTS[dataset]
    sequences = open_benchmark(dataset, write(tmp_path / "benchmark"))
    data = {"benchmark": dataset, "benchmark_root": "benchmark"}
    write_params(tmp_path / "params.yaml", {"data": data, "model": {"segments": 3}})
    save_amd(tmp_path / "models/amd.safetensors")
    monkeypatch.chdir(tmp_path)
    run_stage("predict", predict.main)
    (tmp_path / "predictions/adapted").symlink_to(tmp_path / "predictions/image")
    for kind in MOVING:
        (tmp_path / "predictions/image" / kind).symlink_to(tmp_path / "predictions/image/masks")
    run_stage("evaluate_vos", evaluate_vos.main)
    report = read_json("metrics/vos.json")
    result = report["scores"]["image"]["label-free"]
    assert result["protocol"]["frames_scored"] == scored
    assert sorted(result["sequences"]) == sorted(sequence.name for sequence in sequences)
    assert result["averages"]["frames"]["J"] == pytest.approx(frame_j(sequences, dataset))
    assert list(report["baselines"]) == ["centre_box", "flow_outliers"]


def frame_j(sequences: list[Sequence], dataset: str) -> float:
    """J over frames from the written masks, by arithmetic on their pixels."""
    values = []
    for sequence in sequences:
        for frame in sequence.scored_frames:
            with Image.open(f"predictions/image/masks/{dataset}/{sequence.name}/{frame.name}.png") as image:
                mask, wanted = np.asarray(image) == 255, read_truth(frame)
            union = (mask | wanted).sum()
            values.append((mask & wanted).sum() / union if union else 1.0)
    return float(np.mean(values))


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_predictions_from_elsewhere(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write, scored = LAYOUTS[dataset]
    root, masks = write(tmp_path / dataset), tmp_path / "masks"
    for sequence in open_benchmark(dataset, root):
        for frame in sequence.scored_frames:
            write_mask(masks / sequence.name / f"{frame.name}.png", read_truth(frame))
    arguments = ["--root", root, "--predictions", masks, "--json", tmp_path / "s.json"]
    main(["score", "--dataset", dataset, *map(str, arguments)])
    scores = read_json(tmp_path / "s.json")
    assert scores["averages"]["pooled"]["J"] == scores["mean"]["F"]["mean"] == 1.0
    assert scores["protocol"]["frames_scored"] == scored
    compared = scores["protocol"]["compared"]
    assert f"J compared with the literature's: over {compared}" in capsys.readouterr().out
