"""The flow refresh in a DVC project of two stages: what decides about the training, and what it begins with."""

import subprocess
import sys
from pathlib import Path

import pytest
from projects import enter_project, init_dvc
from registering import make_checkpoint, put, scores

from amd.runtime.errors import UserError
from amd.runtime.files import run_lock
from flows.refresh import refresh

STAGES = """stages:
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
pytestmark = pytest.mark.usefixtures("prefect_server")
SIDE = "stages:\n  side:\n    cmd: touch ran\n    outs: [ran]\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enter_project(tmp_path, {}, monkeypatch)
    init_dvc(STAGES)
    Path("pipelines/side").mkdir(parents=True)
    Path("pipelines/side/dvc.yaml").write_text(SIDE)
    Path("videos").mkdir()
    Path("videos/a.mp4").touch()
    return tmp_path


def trainings() -> int:
    return len(Path("trainings").read_text().splitlines())


def status() -> str:
    words = [sys.executable, "-m", "dvc", "status", "dvc.yaml"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_new_videos_alone_lead_to_a_training_that_begins_with_the_champion(project: Path) -> None:
    parameters = Path("params.yaml").read_text()
    assert refresh() == "new pairs; trained anew, as there is no champion"
    assert (Path("models/pretrained.txt").read_text(), trainings()) == ('a.mp4\n{"start": ""}\n', 1)

    put("amd", make_checkpoint(project / "champion.safetensors", seed=0), scores(0.5, 0.5))
    assert refresh() == "no new pairs; the training stands"
    assert trainings() == 1

    Path("videos/b.mp4").write_text("new")
    assert refresh() == "new pairs; trained on from models:/amd/1"
    assert (Path("models/pretrained.txt").read_text(), trainings()) == ('a.mp4\nb.mp4\n{"start": "models:/amd/1"}\n', 2)
    assert status() == "Data and pipelines are up to date.\n"  # as after `dvc repro` by hand
    assert Path("params.yaml").read_text() == parameters
    assert not Path("pipelines/side/ran").exists()


def test_second_refresh_at_once_is_refused(project: Path) -> None:
    with run_lock(".amd/locks/refresh", "refresh"), pytest.raises(UserError, match="another run is at work"):
        refresh()


def test_by_hand_its_decision_is_the_last_line(project: Path) -> None:
    words = [sys.executable, "-m", "flows.refresh"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "new pairs; trained anew, as there is no champion"
    assert trainings() == 1
