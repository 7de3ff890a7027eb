"""The flow evaluate with real programs and a real store: scores, drift against the last ones, and when it fails."""

from dataclasses import replace
from pathlib import Path

import pytest
from adapt_project import change, copy_project
from mlflow import MlflowClient
from mlflow.entities import Run

from amd.models.checkpoint import save_checkpoint
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, sha256
from flows.evaluate import drift_table, evaluate

DAVIS = {"builtin-clips": "data/corpus/heldout"}
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = copy_project(original, tmp_path / "project", monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("AMD_RUN_ID", "set by the flow; put back after the test")
    change("register", max_drop=0.0)
    model, info = open_model(Path("models/amd.safetensors"))
    save_checkpoint(Path("models/other.safetensors"), model, replace(info, object_segment=2))
    return project


def evaluations() -> list[Run]:
    """Every evaluation in the store, oldest first."""
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("amd").experiment_id
    return client.search_runs([experiment], "tags.`amd.stage` = 'evaluate'", order_by=["attributes.start_time ASC"])


def drift(run: Run) -> dict:
    return read_json(Path(run.info.artifact_uri) / "drift.json")


def outcome(model: str, benchmarks: dict[str, str]) -> str:
    """The flow's error; empty when it ends well."""
    try:
        evaluate(f"models/{model}.safetensors", benchmarks)
    except UserError as error:
        return str(error)
    return ""


def test_drift_is_told_and_a_fall_is_a_failure(project: Path) -> None:
    missing = outcome("amd", {**DAVIS, "fbms59": "nowhere"})
    assert missing.startswith("evaluate: fbms59: nowhere")
    again, other, back = outcome("amd", DAVIS), outcome("other", DAVIS), outcome("amd", DAVIS)
    runs = evaluations()
    assert [run.info.status for run in runs] == ["FINISHED"] * 4  # of the first, what could be scored is there
    first, same, changed, returned = (run.data.metrics for run in runs)
    assert first.keys() == {"J.builtin-clips", "F.builtin-clips"}
    assert (same["J.builtin-clips"], same["drift.builtin-clips"]) == (first["J.builtin-clips"], 0.0)
    change_of_model = changed["J.builtin-clips"] - first["J.builtin-clips"]
    assert changed["drift.builtin-clips"] == pytest.approx(change_of_model)
    assert returned["drift.builtin-clips"] == pytest.approx(-change_of_model)
    assert again == ""
    assert change_of_model != 0.0
    worse, better = (other, back) if change_of_model < 0 else (back, other)
    assert better == ""
    assert "builtin-clips: J of models/" in worse
    assert worse.endswith("more than register.max_drop (0)")
    assert [run.data.tags["model.sha256"] for run in runs[1:3]] == [
        sha256(f"models/{name}.safetensors") for name in ("amd", "other")
    ]
    row = drift(runs[2])["rows"][0]
    assert (row["model"], row["last_model"]) == ("models/other.safetensors", "models/amd.safetensors")
    assert row["last_J"] == first["J.builtin-clips"]

    Path("data/corpus/heldout/ImageSets/sequences.txt").write_text("clip-0000\n")
    assert outcome("amd", DAVIS) == ""
    assert drift(evaluations()[-1])["rows"][0]["last_J"] is None  # scores of other frames do not compare


def test_table() -> None:
    row = {"benchmark": "davis2016", "frames": 6, "model": "models:/amd/2", "J": 0.5, "F": 0.25}
    known = {"last_J": 0.625, "last_model": "models:/amd/1", "last_scored": "2026-01-02 03:04 UTC"}
    unknown = dict.fromkeys(known)
    lines = drift_table([{**row, **known}, {**row, **unknown}]).splitlines()
    assert lines[2] == (
        "| davis2016 | 6 | models:/amd/2 | 0.500 | 0.250 | 0.625 | -0.125 | models:/amd/1 | 2026-01-02 03:04 UTC |"
    )
    assert lines[3] == "| davis2016 | 6 | models:/amd/2 | 0.500 | 0.250 | | | first scores | |"
    assert {line.count("|") for line in lines} == {10}
