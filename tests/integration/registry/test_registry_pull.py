"""Getting a registered model back: its checkpoint, or the whole model, whole or not at all."""

import lzma
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from projects import REPOSITORY
from registering import OBJECT, expected, images, make_checkpoint, put, scores, user_error
from safetensors.torch import load_file

from amd.cli import main
from amd.models.loading import open_model
from amd.registry.listing import list_models, print_history
from amd.registry.promotion import promote, rollback
from amd.runtime.files import sha256
from amd.runtime.registered import pull, pull_pyfunc
from amd.runtime.tracking import connect


def test_pull_gives_the_checkpoint_back(store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put("pulled", checkpoint, scores(0.6, 0.7))
    second = make_checkpoint(tmp_path / "second.safetensors", seed=5)
    put("pulled", second, scores(0.1, 0.1))
    monkeypatch.chdir(tmp_path)  # the store is named by MLFLOW_TRACKING_URI alone
    path = pull("models:/pulled@champion")
    assert path == Path(".amd/models/pulled-1/model.safetensors")
    _, info = open_model(path)
    assert info == open_model(checkpoint)[1]
    ours, pulled = load_file(checkpoint), load_file(path)
    assert ours.keys() == pulled.keys()
    assert all(torch.equal(ours[name], pulled[name]) for name in ours)
    assert sha256(pull("models:/pulled/2")) == sha256(second)
    assert open_model("models:/pulled/2")[1].object_segment == OBJECT
    assert sha256(pull("models:/pulled/2", tmp_path / "mine.safetensors")) == sha256(second)
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


def test_a_version_that_holds_a_checkpoint_of_before_opens(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """tests/unit/models/test_old_checkpoints.py says what that file is."""
    old = tmp_path / "old.safetensors"
    old.write_bytes(lzma.decompress((REPOSITORY / "tests/data/amd.safetensors.xz").read_bytes()))
    put("before", old, scores(0.6, 0.7))
    monkeypatch.chdir(tmp_path)
    model, info = open_model("models:/before@champion")
    assert info == open_model(old)[1]
    assert all(torch.equal(tensor, load_file(old)[name]) for name, tensor in model.state_dict().items())
    image = images((64, 96))[0]
    answer = mlflow.pyfunc.load_model("models:/before/1").predict(image)
    np.testing.assert_array_equal(answer["mask"][0], expected(old, image)[1])


def test_pull_downloads_once_and_repairs(
    store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put("cached", checkpoint, scores(0.6, 0.7))
    monkeypatch.chdir(tmp_path)
    path = pull("models:/cached/1")
    before = path.stat().st_mtime_ns
    assert pull("models:/cached/1").stat().st_mtime_ns == before
    path.write_bytes(b"half a file")
    assert sha256(pull("models:/cached/1")) == sha256(checkpoint)


def test_pull_refuses_what_is_not_there(store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put("known", checkpoint, scores(0.6, 0.7))
    assert "models:/known@best: 'known' has no alias 'best'" in user_error(pull, "models:/known@best")
    assert "aliases: champion (version 1)" in user_error(pull, "models:/known@best")
    assert "'known' has no version 7; versions: 1" in user_error(pull, "models:/known/7")
    assert "no model 'unknown'" in user_error(pull, "models:/unknown@champion")
    assert "known" in user_error(pull, "models:/unknown@champion").split("registered:")[1]
    assert "models:/NAME@ALIAS" in user_error(pull, "models:/known")
    damaged = Path(connect().get_model_version_download_uri("known", "1"), "artifacts/model.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"none")
    monkeypatch.chdir(tmp_path)
    assert "not the one that was registered" in user_error(pull, "models:/known@champion")
    damaged.unlink()
    assert "models:/known/1: its files cannot be had" in user_error(pull, "models:/known@champion")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_pull_makes_no_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for look in (
        lambda: pull("models:/amd@champion"),
        lambda: promote("amd", "1"),
        lambda: rollback("amd"),
        lambda: print_history("amd"),
        list_models,
    ):
        assert "no such MLflow store; run in the project's folder or set MLFLOW_TRACKING_URI" in user_error(look)
    assert not list(tmp_path.iterdir())


def test_the_whole_model_in_a_folder(store: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put("whole", checkpoint, scores(0.6, 0.7))
    out = tmp_path / "models/whole"
    main(["models", "pull", "models:/whole@champion", "--pyfunc", "--out", str(out)])
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert {"MLmodel", "model_card.md", "requirements.txt", "scores.json", "artifacts"} <= {
        path.name for path in out.iterdir()
    }
    assert sha256(out / "artifacts/model.safetensors") == sha256(checkpoint)
    (image,) = images((60, 80))
    result = mlflow.pyfunc.load_model(str(out)).predict(image)
    np.testing.assert_array_equal(result["mask"][0], expected(checkpoint, image)[1])
    assert user_error(pull_pyfunc, "models:/whole@champion", out).endswith(
        "is there already; give a folder that is not"
    )
    damaged = Path(connect().get_model_version_download_uri("whole", "1"), "artifacts/model.safetensors")
    damaged.unlink()
    assert "models:/whole/1: " in user_error(pull_pyfunc, "models:/whole/1", tmp_path / "models/second")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["whole"]
