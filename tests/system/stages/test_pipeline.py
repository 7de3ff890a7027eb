"""The whole pipeline, run as a user runs it: `dvc repro` in a project of its own, then what is made of its model.

The project's path has a space and a letter outside ASCII, and a proxy that nobody answers stands before everything.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from backends import no_seaweed, seaweed
from clips import encode
from mlflow import MlflowClient
from PIL import Image
from projects import REPOSITORY
from ruamel.yaml import YAML

from amd.data.tables import MANIFEST, SCORES, SEGMENTS, read_table
from amd.models.loading import open_model

SMALL = {
    "corpus": {"train_clips": 3, "heldout_clips": 2, "frames": 6, "width": 96, "height": 64, "workers": 1},
    "ingest": {"workers": 1},
    "shard": {"short_edge": 64, "workers": 1, "min_change": 0.0},
    "model": {"segments": 3, "motion_height": 64, "motion_width": 64},
    "pretrain": {
        "iterations": 4, "batch_size": 2, "short_edge": 50, "crop": 48, "checkpoint_every": 2, "log_every": 1,
        "pictures_every": 4,
    },
    "objectness": {"pairs": 4},
    "predict": {"short_edge": 48},
    "adapt": {"iterations": 2, "batch_size": 1, "short_edge": 50, "crop": 48},
    "fused": {"iterations": 1, "frames": 4},
}  # fmt: skip


def environment(project: Path) -> dict[str, str]:
    """The project's own copy of the code first; its own store; one thread."""
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PREFECT_", "AMD_"))}
    nowhere = dict.fromkeys(("http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    fixed = {"PATH": scripts, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
    return {key: value for key, value in ours.items() if key.lower() != "no_proxy"} | nowhere | fixed


def run(project: Path, *command: str, folder: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder or project, env=environment(project) | more, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with small parameters, after `dvc repro`."""
    folder = tmp_path_factory.mktemp("a", numbered=True) / "my Prüfung"
    folder.mkdir()
    for name in ("amd", "stages", "flows", "pipelines", "videos"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / "examples").mkdir()
    encode(folder / "examples/clip.mp4", frames=6)
    yaml = YAML()
    tree = yaml.load(folder / "params.yaml")
    for section, values in SMALL.items():
        tree[section].update(values)
    yaml.dump(tree, folder / "params.yaml")
    for command in (
        "git init -q",
        "git config user.name test",
        "git config user.email test@localhost",
        "dvc init -q",
        "dvc config core.analytics false",
        "git add -A",
        "git commit -q -m project",
    ):
        assert run(folder, *command.split()).returncode == 0, command
    result = run(folder, "dvc", "repro")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_every_stage_left_what_it_promises(project):
    rows = read_table(project / "data/manifest.parquet", MANIFEST)
    assert [row["status"] for row in rows] == ["accepted"] * 3
    assert all(row["frames"] == 6 and row["codec"] == "h264" for row in rows)
    _, info = open_model(project / "models/amd.safetensors")
    segments = read_table(project / "metrics/segments.parquet", SEGMENTS)
    assert info.object_segment == read(project / "metrics/objectness.json")["object_segment"]
    assert info.short_edge == 48
    assert info.bfloat16 == (read(project / "metrics/objectness.json")["bfloat16_error"] <= 2e-2)
    assert [row["segment"] for row in segments] == [0, 1, 2]
    assert sum(row["area"] for row in segments) == pytest.approx(1, abs=1e-3)
    assert info.lineage["params.sha256"]
    assert read(project / "metrics/pretrain.json")["iterations"] == 4
    assert read(project / "metrics/register.json")["promoted"] is True


def test_masks_are_whole_and_consistent(project):
    _, info = open_model(project / "models/amd.safetensors")
    for prediction in ("image", "adapted"):
        masks = sorted((project / f"predictions/{prediction}/masks/builtin-clips").rglob("*.png"))
        assert len(masks) == 2 * 6
        for path in masks:
            mask = np.asarray(Image.open(path))
            labels = np.asarray(Image.open(str(path).replace("/masks/", "/segments/")))
            assert mask.shape == (64, 96)
            np.testing.assert_array_equal(mask == 255, labels == info.object_segment)
            assert set(np.unique(mask)) <= {0, 255}


def test_scores_carry_their_protocol_and_agree_with_the_score_command(project):
    scores = read(project / "metrics/vos.json")
    rows = read_table(project / "metrics/vos.parquet", SCORES)
    for prediction in ("image", "adapted"):
        ours = scores["scores"][prediction]["label-free"]
        assert ours["protocol"]["supervision"] == "none"
        result = run(
            project, "amd", "score", "--dataset", "builtin-clips", "--root", "data/corpus/heldout",
            "--predictions", f"predictions/{prediction}/masks/builtin-clips", "--json", f"{prediction}.json",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert read(project / f"{prediction}.json")["mean"] == ours["mean"]
        oracle = scores["scores"][prediction]["oracle"]
        assert oracle["mean"]["J"]["mean"] >= ours["mean"]["J"]["mean"] - 1e-9
        by_hand = [row["J_mean"] for row in rows if (row["prediction"], row["choice"]) == (prediction, "label-free")]
        assert np.mean(by_hand) == pytest.approx(ours["mean"]["J"]["mean"])


def test_runs_are_nested_under_one_parent_with_lineage(project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("amd").experiment_id], max_results=100)
    runs = [item for item in runs if "amd.ledger" not in item.data.tags]  # the registry's, of no pipeline
    parents = [item for item in runs if "mlflow.parentRunId" not in item.data.tags]
    assert len(parents) == 1
    commit = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    assert parents[0].data.tags["git.commit"] == commit
    assert parents[0].data.tags["git.dirty"] == "false"
    assert parents[0].info.status == "FINISHED"
    stages = {
        item.data.tags["amd.stage"]: item
        for item in runs
        if item.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id
    }
    assert set(stages) == {
        "corpus", "ingest", "shard", "start", "pretrain", "objectness", "predict", "adapt", "evaluate_vos", "example",
        "evaluate_robustness", "evaluate_features", "evaluate_saliency", "report", "register",
    }  # fmt: skip
    hashes = client.download_artifacts(stages["evaluate_vos"].info.run_id, "lineage.json")
    assert read(Path(hashes))["dvc.models/amd.safetensors"]
    assert not [key for each in runs for key in each.data.tags if key.startswith("dvc.")]
    assert parents[0].data.metrics == read(project / "metrics/summary.json")
    assert parents[0].data.tags["registered"] == "models:/amd/1"
    assert "loss" in stages["pretrain"].data.metrics
    adapted = [item for item in runs if item.data.tags.get("mlflow.parentRunId") == stages["adapt"].info.run_id]
    assert len(adapted) == 2


def test_prefect_has_every_video_once_though_its_server_ended(project):
    """What tasks report lies in a queue of the temporary server, which ends with its flow; nothing of it is lost."""
    videos = sorted(path.stem for path in project.glob("predictions/adapted/done/*/*.json"))
    assert len(videos) == 2
    with closing(sqlite3.connect(project / ".amd/prefect/prefect.db")) as store:
        found = store.execute("SELECT name, state_name FROM task_run ORDER BY name").fetchall()
    assert found == [(video, "Completed") for video in videos]


def test_a_second_run_does_nothing(project):
    result = run(project, "dvc", "repro")
    assert result.returncode == 0
    assert "Running stage" not in result.stdout


def test_a_wrong_parameter_stops_before_any_work(project):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("learning_rate: 1.0e-3", "learning_rate: fast"))
    result = run(project, sys.executable, "-m", "stages.pretrain")
    (project / "params.yaml").write_text(text)
    assert result.returncode == 2
    assert result.stderr.strip() == (
        "error: params.yaml: pretrain.learning_rate is 'fast': Input should be a valid number"
    )


def test_the_champion_segments_a_video_from_another_folder(project, tmp_path):
    video = project / "data/corpus/heldout/videos"
    command = ["amd", "segment", str(next(video.glob("*.mp4"))), "--model", "models:/amd@champion", "--out", "out"]
    result = run(project, *command, folder=tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{project / 'mlflow.db'}")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out").rglob("masks/*.png"))) == 6
    result = run(project, *command[:-4], "--model", "models:/nobody@champion", "--out", "out", folder=tmp_path,
                 MLFLOW_TRACKING_URI=f"sqlite:///{project / 'mlflow.db'}")  # fmt: skip
    assert result.returncode == 2
    assert "nobody" in result.stderr


def test_nothing_lies_beside_the_project(project):
    assert [path.name for path in project.parent.iterdir()] == [project.name]


def test_the_benchmark_goes_by_its_own_name(project):
    for path in ("metrics/vos.json", "metrics/saliency.json", "report/report.html"):
        assert "builtin-clips" in (project / path).read_text()
    assert read(project / "metrics/vos.json")["published"] == {}
    assert "davis2016" not in (project / "metrics/vos.json").read_text()
    assert "of builtin-clips" in read(project / "metrics/saliency.json")["published"]["note"]
    assert "davis2016" not in (project / "report/report.html").read_text()
    with closing(sqlite3.connect(project / "mlflow.db")) as store:
        tags = [value for (value,) in store.execute("SELECT value FROM model_version_tags WHERE key = 'scored_on'")]
        cards = [text for (text,) in store.execute("SELECT description FROM model_versions")]
    assert all("builtin-clips" in text and "davis2016" not in text for text in [*tags, *cards])


def test_dvc_shows_a_few_numbers_the_curves_and_the_pipeline_alone(project):
    shown = json.loads(run(project, "dvc", "metrics", "show", "--json").stdout)
    numbers = shown[""]["data"]["metrics/summary.json"]["data"]
    assert list(shown[""]["data"]) == ["metrics/summary.json"]
    assert 10 < len(numbers) <= 15
    assert numbers["J"] == pytest.approx(
        read(project / "metrics/vos.json")["summary"]["image"]["label_free_J"], abs=1e-4
    )
    plots = run(project, "dvc", "plots", "show", "--json")
    assert plots.returncode == 0, plots.stderr
    drawn = json.loads(plots.stdout)["data"]
    assert [(len(entries), len(json.dumps(entries)) > 100) for entries in drawn.values()] == [(1, True), (1, True)]
    assert run(project, "dvc", "status", "dvc.yaml").stdout == "Data and pipelines are up to date.\n"


@pytest.fixture(scope="module")
def copied(project, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A copy of the project whose store was told where it is now, and what a stage said before that."""
    copy = tmp_path_factory.mktemp("copies") / "copy of it"
    subprocess.run(["cp", "-a", str(project), str(copy)], check=True)
    refused = run(copy, sys.executable, "-m", "stages.evaluate_features")
    moved = run(copy, "amd", "models", "relocate")
    assert moved.returncode == 0, moved.stderr
    return copy, refused


def test_a_copied_project_has_a_store_of_its_own(project, copied):
    copy, refused = copied
    before = tree_of(project / "mlartifacts")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {copy}/mlflow.db: this MLflow store was copied or moved")
    again = run(copy, sys.executable, "-m", "stages.evaluate_features")
    assert again.returncode == 0, again.stderr
    pulled = run(copy, "amd", "models", "pull", "models:/amd@champion", "--out", "mine.safetensors")
    assert pulled.returncode == 0, pulled.stderr
    assert tree_of(project / "mlartifacts") == before
    assert len(tree_of(copy / "mlartifacts")) > len(before)


def tree_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_foreign_files_everywhere_are_found_again(copied):
    copy, _ = copied
    owned = (
        *("data/corpus/train", "data/shards", "predictions/image/masks/builtin-clips/clip-0000", "predictions/example"),
        "models/sweep/c4",
    )
    beside = (".", "data", "models", "predictions", "metrics", "report", "videos", ".amd-mine", "inbox")
    for folder in (*owned, *beside):
        (copy / folder).mkdir(parents=True, exist_ok=True)
        (copy / folder / "mine.mp4").write_text("mine")
    (copy / "videos/mine.mp4").rename(copy / "mine too.mp4")  # it is no video
    for command in ("stages.prepare", "stages.shard", "stages.corpus", "flows.pipeline"):
        refused = run(copy, sys.executable, "-m", command)
        assert refused.returncode != 0, command
        assert "mine.mp4" in refused.stderr, refused.stderr
    for stage in ("corpus", "shard", "predict", "example"):  # without what comes before in `make run`
        refused = run(copy, "dvc", "repro", "--single-item", stage)
        assert refused.returncode != 0, stage
        assert "not made by the pipeline" in refused.stderr, refused.stderr
    assert run(copy, sys.executable, "-m", "stages.clean").returncode == 0
    assert not (copy / "models/amd.safetensors").exists()
    for folder in (*owned, *(name for name in beside if name != "videos")):
        assert (copy / folder / "mine.mp4").read_text() == "mine"


def clone_through(project: Path, folder: Path, address: str, options: dict[str, str], keys: dict[str, str]) -> Path:
    """What a colleague has after `git clone` and `dvc pull`, the pipeline's results having been pushed to a remote."""
    clone = folder / "clone"
    assert run(project, "git", "clone", "-q", str(project), str(clone)).returncode == 0
    shutil.copy(project / "dvc.lock", clone)  # committed along with the code, as DVC asks
    for place, command in ((project, "push dvc.yaml"), (clone, "pull dvc.yaml")):
        run(place, "dvc", "remote", "add", "--local", "--force", "team", address)
        for option, value in options.items():
            run(place, "dvc", "remote", "modify", "--local", "team", option, value)
        result = run(place, "dvc", *command.split(), "--remote", "team", **keys)
        assert result.returncode == 0, result.stderr
    return clone


def assert_nothing_to_compute(project: Path, clone: Path) -> None:
    result = run(clone, "dvc", "repro")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("didn't change, skipping") == len(stages_of(project))
    assert "Running stage" not in result.stdout
    assert (clone / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()
    assert not (clone / "mlflow.db").exists()
    told = run(clone, sys.executable, "-m", "stages.summary")
    assert told.returncode == 0, told.stderr
    assert "does not know these results: they were made elsewhere" in told.stdout
    assert "--model models/amd.safetensors" in told.stdout
    for folder in ("data/shards", "models", "predictions", "metrics", "report"):
        paths = [path for path in (project / folder).rglob("*") if path.is_file() and path.name != ".gitignore"]
        files = [path.relative_to(project) for path in paths]
        assert files
        assert all((clone / path).read_bytes() == (project / path).read_bytes() for path in files)


def stages_of(project: Path) -> dict:
    return YAML(typ="safe").load(project / "dvc.lock")["stages"]


def test_second_clone_computes_nothing(project, tmp_path):
    """With an S3-compatible store as DVC's remote, and with a folder where there can be none."""
    if no_seaweed() or not find_spec("dvc_s3"):
        assert_nothing_to_compute(project, clone_through(project, tmp_path, str(tmp_path / "remote"), {}, {}))
        return
    with seaweed(tmp_path / "s3") as s3:
        keys = s3.environment | {"no_proxy": "127.0.0.1"}  # DVC itself knows nothing of local servers
        clone = clone_through(project, tmp_path, "s3://amd/dvc", {"endpointurl": s3.url}, keys)
        assert s3.objects("dvc/files/md5/")
        assert_nothing_to_compute(project, clone)
