"""A plain `dvc repro` of a real stage whose folder persists: foreign files are refused, its own are made anew."""

from pathlib import Path

import pytest
from projects import REPOSITORY, enter_project, init_dvc, python, write_params
from ruamel.yaml import YAML

SMALL = {"train_clips": 2, "heldout_clips": 1, "frames": 4, "width": 64, "height": 48, "workers": 1}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the stage corpus, as dvc.yaml has it but for the code, which has run."""
    enter_project(tmp_path, {"corpus": SMALL}, monkeypatch)
    yaml = YAML(typ="safe")
    stage = yaml.load(REPOSITORY / "dvc.yaml")["stages"]["corpus"]
    del stage["deps"]
    init_dvc("")
    with Path("dvc.yaml").open("w") as file:
        yaml.dump({"stages": {"corpus": stage}}, file)
    assert python("-m", "dvc", "repro").returncode == 0
    return tmp_path


def test_a_users_video_among_the_built_in_clips_survives_dvc_repro(project: Path) -> None:
    mine = Path("data/corpus/train/holiday.mp4")
    mine.write_text("mine")
    refused = python("-m", "dvc", "repro")
    assert refused.returncode != 0
    assert "error: data/corpus/train/holiday.mp4: not made by the pipeline" in refused.stderr
    write_params(project / "params.yaml", {"corpus": SMALL | {"train_clips": 1}})
    assert python("-m", "dvc", "repro").returncode != 0
    assert mine.read_text() == "mine"
    assert len(list(mine.parent.iterdir())) == 3

    mine.rename("holiday.mp4")
    made = python("-m", "dvc", "repro")
    assert made.returncode == 0, made.stderr
    assert len(list(mine.parent.iterdir())) == 1
