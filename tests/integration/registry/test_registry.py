"""Registering on a real SQLite store: versions, their evidence and lineage, lists, comparison, the stage."""

import json
import shutil
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
from commands import refused
from mlflow.entities import Run
from projects import REPOSITORY
from registering import champion, make_checkpoint, put, scores, user_error
from squares import moving_squares, predict, predict_segments, shift

from amd.cli import main
from amd.config import load_params
from amd.data.tables import MANIFEST, write_table
from amd.evaluation.vos import score_run
from amd.registry.listing import compare, list_models
from amd.registry.pyfunc import REQUIREMENTS
from amd.registry.registration import recipe_hash
from amd.runtime.files import read_json, sha256, write_json
from amd.runtime.tracking import connect
from stages import register as register_stage
from stages import run_stage


def test_a_version_says_where_it_came_from(store: Path, checkpoint: Path):
    put("lineage", checkpoint, scores(0.61, 0.71))
    client = connect()
    version = client.get_model_version("lineage", "1")
    run = client.get_run(version.run_id).data.tags
    assert version.tags["pipeline.run"] == run["mlflow.parentRunId"]
    assert version.tags["params.sha256"] == "abc123"
    assert json.loads(version.tags["architecture"])["backbone"] == "small"
    assert version.tags["checkpoint.sha256"] == sha256(checkpoint)
    assert (version.tags["J.image"], version.tags["J.adapted"], version.tags["loss"]) == ("0.61", "0.71", "0.25")
    assert version.tags["scored_on"].startswith("davis2016: 2 sequences, 5 frames")
    card = version.description
    assert 1000 < len(card) < 5000
    location = client.get_model_version_download_uri("lineage", "1")
    assert Path(location, "model_card.md").read_text() == card
    assert Path(location).is_relative_to(store)
    pinned = {f"{name}=={installed_version(name).split('+')[0]}" for name in REQUIREMENTS}
    assert {"torch", "av", "safetensors"} < set(REQUIREMENTS)
    assert set(Path(location, "requirements.txt").read_text().split()) == pinned
    assert not [path for path in Path(location).rglob("*") if path.suffix in (".pkl", ".pickle", ".pth")]


def datasets(run: Run) -> set[tuple[str, str]]:
    return {(held.dataset.name, held.dataset.digest) for held in run.inputs.dataset_inputs}


def test_mlflow_shows_data_scores_and_the_version(store: Path, checkpoint: Path, tmp_path: Path):
    put("shown", checkpoint, scores(0.61, 0.71), manifest=manifest(tmp_path, ["accepted", "rejected"]))
    client = connect()
    version = client.get_model_version("shown", "1")
    run = client.get_run(version.run_id)
    parent = client.get_run(version.tags["pipeline.run"])
    data = ("holiday/clips", version.tags["data.manifest.sha256"][:32])
    assert datasets(run) == {data}
    assert data in datasets(parent)  # which other tests' versions share
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile)["videos"] == 1
    assert parent.data.tags["registered"] == "models:/shown/1"
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "shown", "version": "1"}]
    measured = {metric.key: metric.value for metric in logged.metrics}
    assert (measured["loss"], measured["image.label_free_J"], measured["adapted.label_free_J"]) == (0.25, 0.61, 0.71)


def test_a_checkpoint_without_an_object_is_not_registered(store: Path, tmp_path: Path):
    path = make_checkpoint(tmp_path / "early.safetensors", seed=1, object_segment=None)
    assert "no object segment is chosen yet" in user_error(put, "early", path, scores(0.5, 0.5))
    assert "early" not in {model.name for model in connect().search_registered_models()}


def test_a_recipe_is_the_same_with_other_seeds_and_schedules_alone():
    params = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)

    def changed(section: str, **values: object) -> str:
        return recipe_hash({**params, section: params[section] | values})

    same = recipe_hash(params)
    assert changed("pretrain", seed=5, log_every=7, num_workers=3) == same
    assert changed("adapt", seed=5, workers=9, timeout_s=1.0) == same
    assert changed("register", max_drop=0.5) == same
    assert changed("pretrain", iterations=7) != same
    assert changed("corpus", seed=5) != same  # other videos
    assert changed("adapt", iterations=7) != same


def test_the_list(store: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    put("listed", checkpoint, scores(0.60, 0.70))
    put("listed", checkpoint, scores(0.10, 0.20))
    connect().create_registered_model("strangers-model")
    list_models()
    printed = capsys.readouterr().out
    (ours,) = (block for block in printed.split("\n\n") if block.startswith("listed\n"))
    assert max(map(len, printed.splitlines())) <= 100
    heads, second, first = (line.split() for line in ours.splitlines()[1:4])
    assert heads[:6] == ["version", "alias", "J", "adapted", "loss", "gates"]
    assert heads[6:] == ["seed", "videos", "data", "run", "commit", "registered"]
    assert second[:7] == ["2", "-", "0.100", "0.200", "0.25", "refused", "0"]
    assert first[:7] == ["1", "champion", "0.600", "0.700", "0.25", "passed", "0"]
    version = connect().get_model_version("listed", "1")
    assert first[9] == version.tags["pipeline.run"][:6]
    words = " ".join(ours.split())
    assert "version 2 was refused: J per image 0.100 is more than 0.02 below the 0.600 of champion" in words
    assert words.count("scored on davis2016: 2 sequences, 5 frames") == 1
    assert "strangers-model" not in printed


def test_two_versions_side_by_side(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = make_checkpoint(tmp_path / "first.safetensors", seed=0)
    put("compared", first, scores(0.60, 0.70), manifest=manifest(tmp_path, ["accepted"]))
    put("compared", first, scores(0.65, 0.50), manifest=manifest(tmp_path, ["accepted", "accepted"]))
    put("compared", first, scores(0.65, 0.50, names=("bear", "cow")))
    compare("models:/compared@champion", "models:/compared/2")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == [
        "- compared/1 compared/2 difference",
        "J per image 0.600 0.650 +0.050",
        "J adapted 0.700 0.500 -0.200",
        "loss 0.250 0.250 +0.000",
    ]
    start = lines.index("label-free J, adapted")
    assert lines[start + 2 : start + 4] == ["bear 0.700 0.500 -0.200", "dog 0.700 0.500 -0.200"]
    assert lines[lines.index("parameters that differ") + 1] == "none"
    assert "data.videos 1 2" in lines
    assert not [line for line in lines if "do not compare" in line]
    compare("models:/compared/1", "models:/compared/3")
    printed = capsys.readouterr().out
    assert "scored on different things, so their J do not compare" in printed
    assert "cow       -           0.650       -" in printed


def manifest(folder: Path, statuses: list[str]) -> Path:
    """A manifest with a row of 90 frames and 3.6 s per status."""
    facts = {"frames": 90, "duration_s": 3.6}
    rows = [{"video_id": f"v{number}", "status": status, **facts} for number, status in enumerate(statuses)]
    write_table(folder / "manifest.parquet", MANIFEST, rows)
    return folder / "manifest.parquet"


def test_the_command(store: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setenv("AMD_ACTOR", "night shift")
    put("commanded", checkpoint, scores(0.60, 0.70))
    put("commanded", checkpoint, scores(0.61, 0.71))
    capsys.readouterr()
    main(["models", "promote", "commanded", "1", "--reason", "as good and smaller"])
    assert "models:/commanded/1 is the champion: J 0.600 per image" in capsys.readouterr().out
    main(["models", "promote", "commanded", "1"])
    assert capsys.readouterr().out == "models:/commanded/1 is the champion already\n"
    main(["models", "rollback", "commanded", "--reason", "it was not"])
    assert capsys.readouterr().out == "models:/commanded/2 is the champion again, after version 1\n"
    assert champion("commanded") == "2"
    main(["models", "history", "commanded"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:5]] == ["promoted", "promoted", "promoted", "rolled"]
    assert lines[3].split()[2:] == ["1", "2", "night", "shift", "as", "good", "and", "smaller"]
    assert lines[4].split()[3:] == ["2", "1", "night", "shift", "it", "was", "not"]
    assert "no model 'nobody' in the registry" in refused(capsys, main, ["models", "history", "nobody"])


def test_the_stage(store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    for name in ("models", "data"):
        Path(name).mkdir()
    shutil.copy(checkpoint, "models/amd.safetensors")
    write_json("metrics/vos.json", real_scores(tmp_path))
    manifest(tmp_path / "data", ["accepted"])
    write_json("metrics/pretrain.json", {"iterations": 2, "loss": 0.125, "curve": []})
    Path("report").mkdir()
    Path("report/report.html").write_text("<p>a report</p>")
    run_stage("register", register_stage.main)
    outcome = read_json("metrics/register.json")
    reason = outcome.pop("reason")
    uri = "models:/amd/1"
    assert outcome == {"name": "amd", "version": "1", "alias": "champion", "promoted": True, "uri": uri}
    assert "J 1.000 per image, 0.429 adapted" in reason
    client = connect()
    version = client.get_model_version_by_alias("amd", "champion")
    assert version.tags["loss"] == "0.125"
    assert (version.tags["data.videos"], version.tags["data.hours"]) == ("1", "0.0010")
    assert "1 videos, 90 frames, 0.001 hours" in version.description
    assert "davis2016: 2 sequences, 5 frames" in version.tags["scored_on"]
    kept = {entry.path for folder in ("metrics", "report") for entry in client.list_artifacts(version.run_id, folder)}
    assert kept == {"metrics/vos.json", "metrics/pretrain.json", "metrics/register.json", "report/report.html"}
    write_json("metrics/pretrain.json", {"loss": None})
    run_stage("register", register_stage.main)
    assert read_json("metrics/register.json")["alias"] is None
    assert client.get_model_version_by_alias("amd", "champion").version == version.version


def real_scores(folder: Path) -> dict:
    """What the evaluate_vos stage would write: perfect per image, four pixels off when adapted."""
    sequences = moving_squares(folder / "davis")
    predictions = {name: folder / "predictions" / name for name in ("image", "adapted")}
    for pixels, root in zip((0, 4), predictions.values(), strict=True):
        predict(sequences, root / "masks/davis2016", shift(pixels))
        predict_segments(sequences, root / "segments/davis2016")
    return score_run(sequences, predictions, segments_count=5)[0]
