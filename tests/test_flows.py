"""The fan-out over videos and the pipeline's flow, with a real Prefect server and real programs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from ruamel.yaml import YAML

from amd.checkpoint import ModelInfo, save_checkpoint
from amd.data.benchmarks import open_benchmark
from amd.data.synthetic import make_corpus
from amd.errors import UserError
from amd.model.amd import AMD, Architecture
from amd.params import load_params
from flows.adapt import adapt_videos, devices, share
from flows.pipeline import pipeline, stage_order
from flows.processes import Programs, end_group, process_group

# isort: split
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.testing.utilities import prefect_test_harness

REPOSITORY = Path(__file__).resolve().parent.parent
CLIPS = ("clip-0000", "clip-0001", "clip-0002")
DVC = (sys.executable, "-m", "dvc")
ADAPT = {"iterations": 1, "pairs": 1, "workers": 2, "threads": 1, "retries": 1, "timeout_s": 120.0}


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    """One server for this file."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three held-out clips of four frames and a small untrained checkpoint."""
    project = tmp_path_factory.mktemp("original")
    yaml = YAML()
    tree = yaml.load(REPOSITORY / "params.yaml")
    tree["corpus"].update(train_clips=1, heldout_clips=3, frames=4, width=64, height=48, workers=1)
    tree["adapt"].update(ADAPT)
    yaml.dump(tree, project / "params.yaml")
    make_corpus(project / "data/corpus", load_params(project / "params.yaml").corpus)
    torch.manual_seed(0)
    architecture = Architecture("small", 3, 4, 0.1, "small", 64, 64)
    info = ModelInfo(architecture, object_segment=1, short_edge=48)
    save_checkpoint(project / "models/amd.safetensors", AMD(architecture), info)
    return project


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project as the current folder; programs find this repository's code."""
    folder = tmp_path / "project"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("AMD_MLFLOW_RUN", raising=False)
    return folder


def change(section: str, **values: object) -> None:
    """Change params.yaml of the current folder."""
    yaml = YAML()
    tree = yaml.load(Path("params.yaml"))
    tree[section].update(values)
    yaml.dump(tree, Path("params.yaml"))


def attempts(name: str) -> int:
    """How often a video's program was started in the last run."""
    return Path(f".amd/logs/adapt/{name}.log").read_text().count("--- attempt")


def receipts() -> dict[str, int]:
    """When each receipt was written."""
    return {path.stem: path.stat().st_mtime_ns for path in Path("predictions/adapted/done/davis2016").iterdir()}


def written(name: str) -> set[str]:
    """Masks and segments of a video."""
    folder = Path("predictions/adapted")
    return {str(path.relative_to(folder)) for path in folder.glob(f"*/davis2016/{name}/*.png")}


def expected(name: str) -> set[str]:
    return {f"{kind}/davis2016/{name}/{frame:05d}.png" for kind in ("masks", "segments") for frame in range(4)}


def test_failed_video_is_reported_and_alone_done_again(project: Path) -> None:
    broken = Path("data/corpus/heldout/JPEGImages/480p/clip-0001/00002.jpg")
    good = broken.read_bytes()
    broken.write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"1 of 3 videos failed.*clip-0001 \(.*00002\.jpg: not a readable image"):
        adapt_videos()
    report = json.loads(Path("metrics/adapt.json").read_text())
    assert (report["videos"], report["failed"]) == (3, 1)
    assert report["per_video"]["clip-0001"]["log"] == ".amd/logs/adapt/clip-0001.log"
    assert attempts("clip-0001") == 1  # another try would not mend the file
    first = receipts()
    assert set(first) == {"clip-0000", "clip-0002"}
    assert written("clip-0000") == expected("clip-0000")

    broken.write_bytes(good)
    report = adapt_videos()
    assert (report["videos"], report["failed"]) == (3, 0)
    assert report == json.loads(Path("metrics/adapt.json").read_text())
    rows = report["per_video"]
    assert report["seconds"] == pytest.approx(sum(rows[name]["seconds"] for name in CLIPS))
    assert all(rows[name]["iterations"] == 1 and rows[name]["first_loss"] > 0 for name in CLIPS)
    second = receipts()
    assert {name: second[name] for name in first} == first
    assert written("clip-0001") == expected("clip-0001")

    # What nothing was changed for is done; what lost a prediction, changed a frame or left the benchmark is not.
    Path("predictions/adapted/masks/davis2016/clip-0000/00003.png").unlink()
    shutil.copy(broken, broken.with_name("00001.jpg"))
    Path("data/corpus/heldout/ImageSets/sequences.txt").write_text("clip-0000\nclip-0001\n")
    change("adapt", workers=1, timeout_s=100.0)
    adapt_videos()
    third = receipts()
    assert set(third) == {"clip-0000", "clip-0001"}
    assert third["clip-0000"] > second["clip-0000"]
    assert third["clip-0001"] > second["clip-0001"]
    assert written("clip-0000") == expected("clip-0000")
    assert written("clip-0002") == set()


def test_stale_predictions_are_made_again(project: Path) -> None:
    change("corpus", heldout_clips=3)
    Path("data/corpus/heldout/ImageSets/sequences.txt").write_text("clip-0000\n")
    adapt_videos()
    first = receipts()
    adapt_videos()
    assert receipts() == first
    change("adapt", iterations=2)
    report = adapt_videos()
    assert report["per_video"]["clip-0000"]["iterations"] == 2
    second = receipts()
    assert second["clip-0000"] > first["clip-0000"]
    architecture = Architecture("small", 3, 4, 0.1, "small", 64, 64)
    save_checkpoint("models/amd.safetensors", AMD(architecture), ModelInfo(architecture, 2, 48))
    adapt_videos()
    assert receipts()["clip-0000"] > second["clip-0000"]


def test_timeout_is_tried_again_and_then_reported(project: Path) -> None:
    change("adapt", timeout_s=0.3, retries=2)
    with pytest.raises(UserError, match=r"3 of 3 videos failed.*clip-0002 \(not finished after 0.3 s"):
        adapt_videos()
    assert [attempts(name) for name in CLIPS] == [3, 3, 3]
    assert not Path("predictions/adapted/done").exists()
    assert programs_of(project) == []


def test_missing_checkpoint(project: Path) -> None:
    Path("models/amd.safetensors").unlink()
    with pytest.raises(UserError, match=r"models/amd\.safetensors: no such checkpoint"):
        adapt_videos()


def programs_of(project: Path) -> list[psutil.Process]:
    """Programs of single videos that run in `project`."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "stages.adapt_video" in (process.info["cmdline"] or []) and process.info["cwd"] == str(project):
            found.append(process)
    return found


def wait_for(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_program_outlives_the_stage(project: Path, number: signal.Signals) -> None:
    change("adapt", iterations=100_000, workers=2)
    stage = subprocess.Popen([sys.executable, "-m", "flows.adapt"], stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(programs_of(project)) == 2 and stage.poll() is None)
        stage.send_signal(number)
        message = stage.communicate(timeout=60)[1]
    finally:
        stage.kill()
    wait_for(lambda: not programs_of(project), 10)
    if number == signal.SIGTERM:
        assert stage.returncode == 130
        assert message.splitlines()[-1] == "interrupted; the same command continues"
        assert "Traceback" not in message
    assert not Path("predictions/adapted/done").exists()


def test_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [share(index, 3, ["2", "5"])["CUDA_VISIBLE_DEVICES"] for index in range(5)] == ["2", "5", "2", "5", "2"]
    assert share(0, 3, ["2"])["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in share(0, 1, [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7a")
    assert devices() == ["4", "GPU-7a"]
