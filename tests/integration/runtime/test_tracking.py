"""Runs on a real SQLite store: the pipeline's run and what is nested in it, lineage, and a store made by several."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Record
from mlflow.exceptions import MlflowException
from PIL import Image
from projects import REPOSITORY

from amd.config import Params, load_params, params_hash
from amd.config.profiles import differences, load_profile, nearest_profile
from amd.runtime.errors import UserError
from amd.runtime.lineage import git_tags, version_tags
from amd.runtime.tracking import About, attached_run, connect, nested_run, pipeline_run, stage_run, store_errors


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project folder with a store; making one takes seconds. Tests have pipeline keys of their own."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect()
        yield folder


@pytest.fixture
def pipeline(store: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of this test's pipeline run."""
    monkeypatch.setenv("AMD_RUN_ID", request.node.name)
    return request.node.name


def records(pipeline: str) -> tuple[Record, list[Record]]:
    """The pipeline's run, of which there must be one, and those below it, oldest first."""
    client = connect()
    experiment = client.get_experiment_by_name("amd").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`amd.pipeline` = '{pipeline}'")
    below = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return parent, client.search_runs([experiment], below, order_by=["start_time ASC"])


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_stages_of_one_pipeline_share_a_parent(pipeline: str):
    with stage_run("shard", {"shard": {"gap": 2, "fps": None}}, {"dvc.data/videos": "0123"}) as run:
        run.metrics({"pairs": 17})
        assert records(pipeline)[0].info.status == "RUNNING"
    with stage_run("pretrain", {}):
        pass
    parent, stages = records(pipeline)
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time >= stages[-1].info.start_time
    assert [stage.info.run_name for stage in stages] == ["shard", "pretrain"]
    assert [stage.info.status for stage in stages] == ["FINISHED", "FINISHED"]
    assert stages[0].data.params == {"shard.gap": "2", "shard.fps": "None"}
    assert stages[0].data.metrics == {"pairs": 17}
    assert stages[0].data.tags["amd.stage"] == "shard"
    assert stages[0].data.tags["dvc.data/videos"] == "0123"


def test_another_run_id_is_another_pipeline_and_a_process_by_hand_its_own(
    pipeline: str, monkeypatch: pytest.MonkeyPatch
):
    client = connect()
    first = pipeline_run(client).id
    assert pipeline_run(client).id == first
    monkeypatch.setenv("AMD_RUN_ID", "another")
    assert pipeline_run(client).id != first
    monkeypatch.delenv("AMD_RUN_ID")
    assert pipeline_run(client).id not in (first, "another")


def test_a_failed_stage_fails_its_pipeline_and_a_retry_mends_it(pipeline: str):
    with pytest.raises(RuntimeError, match="the disk burns"), stage_run("adapt", {}):
        raise RuntimeError("the disk burns")
    parent, (stage,) = records(pipeline)
    assert (parent.info.status, stage.info.status) == ("FAILED", "FAILED")
    assert stage.info.end_time is not None
    with pytest.raises(KeyboardInterrupt), stage_run("adapt", {}):
        raise KeyboardInterrupt
    with stage_run("adapt", {}):
        pass
    parent, stages = records(pipeline)
    assert parent.info.status == "FINISHED"
    assert [stage.info.status for stage in stages] == ["FAILED", "FAILED", "FINISHED"]


def test_a_stage_whose_parameters_cannot_be_logged_fails_too(pipeline: str):
    with pytest.raises(UserError, match=r"MLflow store .*Invalid"), stage_run("adapt", {"/bad/../key": 1}):
        pytest.fail("the body must not run")
    parent, (stage,) = records(pipeline)
    assert (parent.info.status, stage.info.status) == ("FAILED", "FAILED")


def test_videos_are_nested_in_their_stage(pipeline: str):
    assert attached_run() is None
    with stage_run("adapt", {}) as stage:
        assert attached_run().id == stage.id
        with nested_run(stage.client, stage.id, "bear") as video:
            assert attached_run().id == video.id
            video.metrics({"loss": 0.5}, step=1)
            video.metrics({"loss": 0.25}, step=2)
        with pytest.raises(ValueError), nested_run(stage.client, stage.id, "dog"):
            raise ValueError
        assert attached_run().id == stage.id
    assert attached_run() is None
    client = connect()
    experiment = client.get_experiment_by_name("amd").experiment_id
    below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{stage.id}'")
    assert {run.info.run_name: run.info.status for run in below} == {"bear": "FINISHED", "dog": "FAILED"}
    history = client.get_metric_history(video.id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]
    assert records(pipeline)[0].info.status == "FINISHED"


def test_artifacts_lie_beside_the_database_wherever_it_is_used(
    pipeline: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/a.json").write_text("{}")
    with stage_run("report", {}) as run:
        run.picture(picture, "pictures/first.png")
        run.artifact(tmp_path / "metrics", folder="metrics")
        run.artifact(tmp_path / "metrics/a.json")
    kept = store / "mlartifacts" / run.id / "artifacts"
    assert {str(path.relative_to(kept)) for path in kept.rglob("*.*")} == {
        "pictures/first.png",
        "metrics/a.json",
        "a.json",
    }
    np.testing.assert_array_equal(np.asarray(Image.open(kept / "pictures/first.png")), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]


def test_the_commit_and_whether_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_tags() == {}
    git("init", "-q")
    assert git_tags() == {}
    Path("a.txt").write_text("one")
    git("add", "a.txt")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    Path("untracked.txt").write_text("is no change")
    assert git_tags() == {"git.commit": commit, "git.dirty": "false"}
    Path("a.txt").write_text("two")
    assert git_tags() == {"git.commit": commit, "git.dirty": "true"}
    monkeypatch.setenv("PATH", "")  # a machine without git
    assert git_tags() == {}


def test_the_pipeline_run_carries_commit_and_versions(pipeline: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    git("init", "-q", str(tmp_path / "code"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "code/.git"))
    git("commit", "-q", "--allow-empty", "-m", "one")
    pipeline_run(connect(), lambda: About("paper", {"adapt.iterations": 7, "model": {"segments": 4}}))
    parent = records(pipeline)[0]
    tags, commit = parent.data.tags, git("rev-parse", "HEAD")
    assert parent.info.run_name == f"{datetime.now(UTC):%Y-%m-%d} paper {commit[:7]}"
    assert parent.data.params == {"adapt.iterations": "7", "model.segments": "4"}
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == commit
    assert tags["mlflow.source.name"]
    assert tags["version.python"] == ".".join(map(str, sys.version_info[:3]))
    assert version_tags().items() <= tags.items()
    assert {"version.torch", "version.numpy", "version.dvc", "version.prefect"} <= version_tags().keys()


def test_the_nearest_profile_and_what_differs_from_the_defaults():
    params = load_profile("workstation")
    assert nearest_profile(params) == ("workstation", 0)
    changed = params.model_copy(update={"register_": params.register_.model_copy(update={"max_drop": 0.5})})
    assert nearest_profile(changed) == ("workstation", 1)
    defaults = load_profile("quickstart")
    assert differences(defaults, defaults) == {}
    assert differences(changed, defaults).items() > {"register.max_drop": 0.5}.items()


def test_the_parameters_hash_changes_with_any_value_alone():
    params = load_params(REPOSITORY / "params.yaml")
    tree = params.model_dump(by_alias=True)
    assert params_hash(Params.model_validate(tree)) == params_hash(params)
    reordered = dict(reversed(tree.items()))
    assert params_hash(Params.model_validate(reordered)) == params_hash(params)
    tree["register"]["max_drop"] += 0.01
    assert params_hash(Params.model_validate(tree)) != params_hash(params)


@pytest.mark.parametrize(
    ("uri", "word"), [("sqlite:///junk.db", "file is not a database"), ("ftp://me:secret@host", "unsupported")]
)
def test_a_store_that_cannot_be_opened(uri: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("junk.db").write_bytes(b"not a database at all" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=word) as error:
        connect()
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_the_reason_is_told_not_the_words_before_it():
    reason = "(sqlite3.OperationalError) database or disk is full"
    text = f"(raised as a result of Query-invoked autoflush; …)\n{reason}\n[SQL …]"
    store = "MLflow store sqlite:///m.db: "
    for words, told in ((text, store + reason), ("", f"{store}MlflowException")):
        with pytest.raises(UserError) as error, store_errors("sqlite:///m.db"):
            raise MlflowException(words)
        assert str(error.value) == told


def test_several_processes_may_be_the_first_to_use_a_store(tmp_path: Path):
    """They start in different folders, as flows and stages may; MLflow alone breaks the database here."""
    program = "from amd.runtime.tracking import stage_run\n"
    program += "with stage_run('adapt', {}) as run:\n    run.metrics({'loss': 0.5})"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "AMD_RUN_ID": "together", "PYTHONPATH": path}
    children = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", program]
        children.append(subprocess.Popen(command, cwd=tmp_path / name, env=environment, stderr=subprocess.PIPE))
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors.decode()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("amd")
    assert experiment.artifact_location == str(tmp_path / "mlartifacts")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "amd.pipeline" in run.data.tags]
    stages = [run for run in runs if run is not parent]
    assert len(stages) == 3
    assert {run.data.tags["mlflow.parentRunId"] for run in stages} == {parent.info.run_id}
    assert all(run.data.metrics == {"loss": 0.5} and run.info.status == "FINISHED" for run in stages)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("artifacts", [True, False])
def test_no_new_store_is_made_where_one_is_away_for_a_while(
    artifacts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with stage_run("report", {}) as run:
        if artifacts:
            run.picture(np.zeros((4, 4, 3), np.uint8), "picture.png")
    away = Path("mlflow.db").rename(tmp_path / "away.db")
    with pytest.raises(UserError, match=r"mlflow\.db: this MLflow store is gone"), stage_run("report", {}):
        pass
    assert not Path("mlflow.db").exists()
    away.rename("mlflow.db")
    with stage_run("report", {}) as again:
        assert again.client.get_run(run.id).info.status == "FINISHED"
