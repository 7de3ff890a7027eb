"""The flow refresh: real videos in a watched folder, through real servers; and what it says where work is stubbed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from projects import REPOSITORY, enter_project, init_dvc, write_params
from registering import put
from ruamel.yaml import YAML
from service_runs import Services, prefect_client, run_deployment, running_services

from amd.config.profiles import profile_text
from amd.data.synthetic.clips import encode
from amd.data.tables import EVIDENCE, HELD_OUT, MANIFEST, read_table
from amd.data.video.decode import Source, read_frames
from amd.models.loading import open_model
from amd.motion.per_image import PHOTOS
from amd.registry.gates import Evidence
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, run_lock, write_json
from flows.refresh import refresh

OURS = ("ingest", "shard", "start", "pretrain", "objectness", "report", "register")  # the others need labels
INPUTS = {"${data.videos}", "data/manifest.parquet", "data/shards", "models/pretrained.safetensors"}
INPUTS |= {"models/amd.safetensors", "report/report.html"}
OLD = "videos/wolf.mp4"
NEW = (
    *("videos/01_dog.mp4", "unlabelled/sam2_02_cups.mp4", "unlabelled/sam2_bedroom.mp4"),
    *("unlabelled/intel_person-bicycle-car-detection.gif", "unlabelled/intel_store-aisle-detection.gif"),
)
SMALL = {
    "ingest": {"workers": 1},
    "shard": {"short_edge": 64, "gap": 1, "min_change": 0.0, "workers": 1},
    "pretrain": {"iterations": 2, "batch_size": 2, "short_edge": 60, "crop": 48, "learning_rate": 1e-5},
    "objectness": {"pairs": 4},
    "predict": {"short_edge": 64},
}
STUBS = """stages:
  shard:
    cmd: mkdir -p data/shards && cp videos/* data/shards/
    deps: [videos]
    outs: [data/shards]
  start:
    cmd: 'mkdir -p models && echo "{\\"start\\": \\"$AMD_START\\"}" > models/start.yaml'
    params: [pretrain.start]
    outs:
      - models/start.yaml:
          persist: true
  pretrain:
    cmd: (ls data/shards; cat models/start.yaml) > models/pretrained.txt && echo >> trainings
    deps: [data/shards]
    params: [models/start.yaml: [start]]
    outs: [models/pretrained.txt]
"""
SIDE = "stages:\n  side:\n    cmd: touch ran\n    outs: [ran]\n"


def our_stages() -> dict:
    """Those stages as the pipeline has them, depending on the videos and on each other alone."""
    stages = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    ours = {name: stages[name] for name in OURS}
    return {name: stage | {"deps": sorted(INPUTS & {*stage.get("deps", [])})} for name, stage in ours.items()}


def cut(video: Path, to: Path) -> None:
    """The first frames of a real video, small."""
    to.parent.mkdir(exist_ok=True)
    frames = [frame.image for frame in read_frames(Source("clip", video), 96, None, 14)]
    encode(to, np.stack([frame[:, : frame.shape[1] // 2 * 2] for frame in frames]), 24.0)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> Iterator[Services]:
    """A project of the profile `own`, whose champion is the packaged model of single images; its servers run."""
    enter_project(tmp_path, {}, monkeypatch)
    write_params(Path("params.yaml"), SMALL, base=profile_text("own"))
    init_dvc("")
    with Path("dvc.yaml").open("w") as file:
        YAML().dump({"stages": our_stages()}, file)
    for number, name in enumerate((OLD, *NEW)):  # under names that the champion's training did not have
        cut(shared_data / name, Path(f"videos/clip{number}.mp4"))
    write_json(Path("metrics/vos.json"), {})  # nothing labelled was scored
    with running_services(tmp_path) as started:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", started.mlflow)
        put("amd", PHOTOS, {})
        MlflowClient(started.mlflow).set_registered_model_alias("amd", "champion", "1")
        yield started


def decisions(running: Services) -> list[str]:
    """What two runs of the deployment decided, as Prefect's server has it."""
    found = []
    with prefect_client(running) as client:
        for _ in range(2):
            run = run_deployment(client, "refresh/refresh", 600)
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
            assert run.state.is_completed(), [log.message for log in logs]
            found += [log.message for log in logs if "new pairs" in log.message and "train" in log.message]
    return found


def stage_runs(client: MlflowClient) -> dict[str, Run]:
    """The newest run of each stage."""
    experiment = client.get_experiment_by_name("amd").experiment_id
    found = client.search_runs([experiment], order_by=["attributes.start_time ASC"], max_results=200)
    return {run.data.tags["amd.stage"]: run for run in found if "amd.stage" in run.data.tags}


def test_new_videos_lead_to_a_model_that_began_with_the_champion_and_is_judged_without_labels(live: Services) -> None:
    parameters = Path("params.yaml").read_text()
    assert decisions(live) == ["new pairs; trained on from models:/amd/1", "no new pairs; the training stands"]
    rows = read_table("data/manifest.parquet", MANIFEST)
    aside = [row["video_id"] for row in rows if row["status"] == HELD_OUT]
    assert (len(rows), len(aside)) == (6, 2)
    seen = {row["video_id"] for row in read_table("data/shards/evidence.parquet", EVIDENCE)}
    assert seen == {row["video_id"] for row in rows} - set(aside)
    _, info = open_model("models/amd.safetensors")
    assert info.lineage["start"] == "models:/amd/1"
    assert seen < set(info.lineage["videos"])  # and those of the champion

    outcome = read_json("metrics/register.json")
    assert (outcome["version"], outcome["promoted"]) == ("2", True), outcome
    assert "agreement with motion evidence" in outcome["reason"]
    client = MlflowClient(live.mlflow)
    assert str(client.get_registered_model("amd").aliases["champion"]) == "2"
    old, new = (Evidence.from_tags(client.get_model_version("amd", version).tags).held_out for version in "12")
    assert old.keys() == new.keys()
    assert len(new) == 2
    runs = stage_runs(client)
    assert runs["ingest"].data.metrics == {"accepted": 4, "held_out": 2, "rejected": 0}
    assert runs["shard"].data.metrics["new_pairs"] > 20
    assert runs["pretrain"].data.metrics["iterations"] == 2
    figures = runs["register"].data.metrics
    for name in ("agreement", "stability", "odd", "area"):
        before, after = (np.mean([getattr(each, name) for each in model.values()]) for model in (old, new))
        assert figures[f"held_out.{name}"] == pytest.approx(after, abs=1e-4)
        assert figures[f"drift.{name}"] == pytest.approx(after - before, abs=2e-4)
    assert any(figures[f"drift.{name}"] for name in ("agreement", "stability", "area"))
    kept = {item.path for item in client.list_artifacts(runs["register"].info.run_id, "report")}
    assert kept == {"report/report.html"}
    pipeline = client.get_run(runs["register"].data.tags["mlflow.parentRunId"])
    assert pipeline.data.tags["registered"] == "models:/amd/2"

    words = [sys.executable, "-m", "dvc", "status", "dvc.yaml"]
    status = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert status == "Data and pipelines are up to date.\n"  # as after `dvc repro` by hand
    assert Path("params.yaml").read_text() == parameters


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same flow where every stage is a line of shell."""
    enter_project(tmp_path, {}, monkeypatch)
    init_dvc(STUBS)
    Path("pipelines/side").mkdir(parents=True)
    Path("pipelines/side/dvc.yaml").write_text(SIDE)
    Path("videos").mkdir()
    Path("videos/a.mp4").touch()
    return tmp_path


@pytest.mark.usefixtures("prefect_server")
def test_second_refresh_at_once_is_refused(project: Path) -> None:
    with run_lock(".amd/locks/refresh", "refresh"), pytest.raises(UserError, match="another run is at work"):
        refresh()


@pytest.mark.usefixtures("prefect_server")
def test_by_hand_its_decision_is_the_last_line(project: Path) -> None:
    words = [sys.executable, "-m", "flows.refresh"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "new pairs; trained anew, as there is no champion"
    assert Path("trainings").read_text() == "\n"
    assert not Path("pipelines/side/ran").exists()
