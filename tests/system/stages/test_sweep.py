"""The number of segments: pretrained, the object chosen, scored and drawn for every c, as the pipeline runs them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import REPOSITORY, corpus_shards, enter_project, planned

from amd.config import load_params
from amd.data.benchmarks.davis import davis2016
from amd.evaluation.vos import score_masks
from amd.models.loading import open_model
from amd.runtime.files import read_json
from stages import evaluate_sweep, run_stage, sweep
from stages.trainings import run_training

SMALL = {
    "corpus": {"train_clips": 2, "heldout_clips": 2, "frames": 5, "width": 96, "height": 64, "workers": 1},
    "ingest": {"workers": 1},
    "shard": {"short_edge": 64, "workers": 1, "min_change": 0.0},
    "model": {"motion_height": 64, "motion_width": 64},
    "pretrain": {
        "iterations": 1000, "batch_size": 2, "short_edge": 50, "crop": 48, "checkpoint_every": 10, "log_every": 5,
        "pictures_every": 1000,
    },
    "objectness": {"pairs": 4},
    "predict": {"short_edge": 48},
    "sweep": {"segments": [3, 4], "iterations": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the stages of the sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        enter_project(folder, SMALL, patch)
        params = load_params()
        corpus_shards(Path("data"), params)
        for segments in params.sweep.segments:
            run_stage(f"sweep_c{segments}", partial(sweep.main, segments))
        run_stage("evaluate_sweep", evaluate_sweep.main)
    return folder


def test_every_number_has_its_model(project: Path):
    for segments in (3, 4):
        folder = project / f"models/sweep/c{segments}"
        _, info = open_model(folder / "amd.safetensors")
        assert info.architecture.segments == segments
        assert len(info.segments) == segments
        assert info.object_segment is not None
        assert info.short_edge == 48
        assert read_json(folder / "history.json")["iterations"] == 20
        assert load_params(folder / "params.yaml").pretrain.iterations == 20


def test_its_scores_are_those_of_its_masks(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project)
    report = read_json("metrics/sweep.json")
    assert list(report["segments"]) == ["3", "4"]
    assert report["protocol"]["object"].startswith("label-free")
    for segments, numbers in report["segments"].items():
        masks = Path(f"predictions/sweep/c{segments}/masks/builtin-clips")
        scores = score_masks(davis2016("data/corpus/heldout"), masks)
        assert numbers["label_free_J"] == scores["mean"]["J"]["mean"]
        assert numbers["oracle_J"] >= numbers["label_free_J"]


def test_its_figures(project: Path):
    with Image.open(project / "metrics/sweep.png") as curve:
        assert curve.size == (600, 420)
    with Image.open(project / "metrics/sweep_masks.png") as masks:
        assert masks.width == 3 * 244 + 4  # frame, c = 3, c = 4
        assert np.asarray(masks.convert("RGB")).std() > 20


TRAINING = """
import argparse, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("task")
for name in ("--lineage", "--state", "--out"):
    parser.add_argument(name, type=pathlib.Path)
options = parser.parse_args()
options.out.write_text("went on" if options.state.exists() else "began")
options.state.parent.mkdir(parents=True, exist_ok=True)
options.state.touch()
"""


def test_an_interruption_after_the_training_costs_no_step_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "some_training.py").write_text(TRAINING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("amd.training.launching.PROGRAM", "some_training")
    monkeypatch.chdir(tmp_path)
    params, out = load_params(REPOSITORY / "params.yaml"), tmp_path / "out"

    def interrupted() -> None:
        assert out.read_text() == "began"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training("pretrain", params, ["made from"], {"--out": out}, interrupted)
    run_training("pretrain", params, ["made from"], {"--out": out})
    assert out.read_text() == "went on"
    run_training("pretrain", params, ["made from"], {"--out": out})
    assert out.read_text() == "began"  # nothing is left of a training that is through


def test_dvc_runs_a_stage_a_number_on_the_shards_of_the_pipeline(tmp_path: Path):
    there = ["data/corpus/train", "data/corpus/heldout", "data/shards", "models/sweep", "data/manifest.parquet"]
    order = planned(tmp_path, "sweep", there, {}, main=True)
    trainings = [order.index(f"stages.sweep {segments}") for segments in (4, 5, 6, 8)]
    before = [order.index(f"stages.{name}") for name in ("corpus", "ingest", "shard")]
    assert before == sorted(before)
    assert before[-1] < min(trainings)
    assert max(trainings) < order.index("stages.evaluate_sweep")
    assert "flows.adapt" not in order
