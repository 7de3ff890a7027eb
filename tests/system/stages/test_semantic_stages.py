"""The stages of the fine-tuning as DVC names them: trained, scored and drawn, or skipped without a dataset."""

from functools import partial
from pathlib import Path

import pytest
from checkpoints import save_amd
from mlflow import MlflowClient
from PIL import Image
from projects import enter_project, planned
from voc import CLASSES, write_voc

from amd.models.checkpoint import save_checkpoint
from amd.models.semantic import SemanticArchitecture, SemanticInfo, SemanticNetwork
from amd.runtime.files import read_json
from stages import evaluate_semantic, run_stage, semantic

SMALL = {
    "root": "VOC2012", "iterations": 3, "batch_size": 2, "short_edge": 48, "crop": 40, "checkpoint_every": 2,
    "log_every": 1, "seeds": [0],
}  # fmt: skip


def test_every_fine_tuning_is_scored_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    enter_project(tmp_path, {"semantic": SMALL}, monkeypatch)
    write_voc(tmp_path / "VOC2012")
    save_amd(tmp_path / "models/amd.safetensors")
    scratch = SemanticArchitecture("small", 4, 0.1, ("background", *CLASSES))
    path = tmp_path / "models/semantic/scratch-light-0/model.safetensors"
    save_checkpoint(path, SemanticNetwork(scratch), SemanticInfo(scratch, 48))
    run_stage("semantic_amd", partial(semantic.main, "amd", "light", 0))
    run_stage("evaluate_semantic", evaluate_semantic.main)
    report = read_json("metrics/semantic.json")
    assert set(report["runs"]) == {"scratch-light-0", "amd-light-0"}
    assert report["mIoU"]["amd-light"] == {"mean": report["runs"]["amd-light-0"]["mIoU"], "deviation": None, "seeds": 1}
    assert set(report["IoU_per_class"]) == {"background", *CLASSES}
    assert "start amd" in report["protocol"]["predictions"]["amd-light-0"]
    for name in ("semantic", "semantic_scores"):
        with Image.open(f"metrics/{name}.png") as picture:
            assert picture.width > 300
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("amd").experiment_id])
    metrics = {run.data.tags.get("amd.stage"): run.data.metrics for run in runs}
    assert metrics["semantic_amd"]["loss"] > 0
    assert metrics["evaluate_semantic"]["mIoU_scratch-light-0"] == report["runs"]["scratch-light-0"]["mIoU"]
    assert not list(Path(".amd/semantic_training").glob("*"))  # nothing is left to go on with


def test_without_a_dataset_they_are_skipped(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    enter_project(tmp_path, {"semantic": {"root": None}}, monkeypatch)
    run_stage("semantic", partial(semantic.main, "scratch", "light", 0))
    run_stage("evaluate_semantic", evaluate_semantic.main)
    assert "semantic.root is empty" in read_json("metrics/semantic.json")["skipped"]
    assert Path("models/semantic/scratch-light-0").is_dir()
    assert Path("metrics/semantic.png").is_file()
    assert capsys.readouterr().out.count("skipped; semantic.root is empty") == 2


def test_the_spread_by_hand():
    assert evaluate_semantic.spread([0.1, 0.3]) == pytest.approx({"mean": 0.2, "deviation": 0.02**0.5, "seeds": 2})


def test_dvc_knows_every_stage(tmp_path: Path):
    """DVC itself resolves the pipeline: a stage for every start, augmentation and seed, and the score after them."""
    changes = {"semantic": {"seeds": [0, 5], "augmentations": ["light", "heavy"]}}
    *trainings, score = planned(tmp_path, "semantic", ["models/semantic", "models/amd.safetensors"], changes)
    assert sorted(trainings) == sorted(
        f"stages.semantic {start} {augmentation} {seed}"
        for start in ("scratch", "amd") for augmentation in ("light", "heavy") for seed in (0, 5)
    )  # fmt: skip
    assert score == "stages.evaluate_semantic"
