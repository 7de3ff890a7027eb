"""The model registry on a real SQLite store: gates, aliases, pulling, and the model that loads without this project."""

import json
import math
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.pyfunc import PyFuncModel
from PIL import Image
from safetensors.torch import load_file

import amd
from amd.checkpoint import ModelInfo, load_checkpoint, save_checkpoint
from amd.data.benchmarks import davis2016
from amd.data.images import write_labels, write_mask
from amd.errors import UserError
from amd.evaluation.predictions import masks_folder, prediction_path, segments_folder
from amd.evaluation.vos import score_run
from amd.files import read_json, sha256, write_json
from amd.gates import Champion, Evidence, judge
from amd.loading import resolve_model
from amd.model.amd import AMD, Architecture
from amd.model.inference import object_mask, soft_masks
from amd.params import Register
from amd.registry import copy_travelling_code, list_models, promote, pull, register, save_pyfunc
from amd.tracking import connect, stage_run
from stages import register as register_stage
from stages import run_stage

REPOSITORY = Path(__file__).resolve().parent.parent
PROTOCOL = {"dataset": "davis2016", "sequences": 2, "frames_scored": 5, "averaging": "mean over sequences"}
OBJECT, SHORT_EDGE = 3, 48


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project folder with an MLflow store, which takes seconds to set up; tests use names of their own."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("AMD_PIPELINE_RUN", "test-registry")
        connect()
        yield folder


@pytest.fixture(scope="module")
def checkpoint(store: Path) -> Path:
    return make_checkpoint(store / "models/amd.safetensors", seed=0)


def make_checkpoint(path: Path, seed: int, object_segment: int | None = OBJECT) -> Path:
    """A random network whose object mask is neither empty nor full on the test's images."""
    torch.manual_seed(seed)
    model = AMD(Architecture("small", 5, 4, 0.1, "small", 128, 128)).eval()
    info = ModelInfo(model.architecture, object_segment, SHORT_EDGE, params={"data": {"videos": "holiday/clips"}})
    save_checkpoint(path, model, info)
    return path


def scores(image: float, adapted: float, names: tuple[str, ...] = ("bear", "dog")) -> dict:
    """The contents of metrics/vos.json that matter to the registry."""
    row = {"label_free_F": 0.5, "oracle_J": 0.9, "oracle_F": 0.9}
    label_free = {"protocol": PROTOCOL, "sequences": {name: {} for name in names}}
    return {
        "summary": {"image": {"label_free_J": image, **row}, "adapted": {"label_free_J": adapted, **row}},
        "scores": {"image": {"label-free": label_free}},
    }


def images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Smooth random pictures of (height, width), so that segments have shapes."""
    random = np.random.default_rng(7)
    coarse = [random.integers(0, 256, (6, 8, 3), np.uint8) for _ in sizes]
    return [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        for image, (height, width) in zip(coarse, sizes, strict=True)
    ]


def expected(checkpoint: Path, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Soft masks c,H,W and the mask H,W that this project makes of an image."""
    model, info = load_checkpoint(checkpoint)
    soft = soft_masks(model, torch.from_numpy(image.copy()), info.short_edge)
    mask = object_mask(soft, info.object_segment)
    return soft.numpy(), np.where(mask.numpy(), 255, 0).astype(np.uint8)


def put(name: str, checkpoint: Path, result: dict, loss: float | None = 0.25, max_drop: float = 0.02):
    with stage_run("register", {}, {"params.sha256": "abc123"}) as run:
        return register(checkpoint, result, {"loss": loss}, Register(name=name, max_drop=max_drop), run)


def champion(name: str) -> str | None:
    holder = connect().get_registered_model(name).aliases.get("champion")
    return holder and str(holder)


def user_error(function, *arguments) -> str:
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


# Gates


def evidence(loss: float = 0.1, image: float = 0.6, adapted: float = 0.7, benchmark: str = "x") -> Evidence:
    return Evidence(loss, image, adapted, f"davis2016 {benchmark}", benchmark)


@pytest.mark.parametrize(
    ("candidate", "passed", "word"),
    [
        (evidence(), True, "J 0.600 per image"),
        (evidence(image=0.58, adapted=0.68), True, "not below"),  # just max_drop
        (evidence(image=0.579), False, "J per image 0.579 is more than 0.02 below the 0.600 of champion version 4"),
        (evidence(adapted=0.679, image=0.9), False, "adapted J 0.679"),
        (evidence(loss=math.nan, image=0.9), False, "loss is nan"),
        (evidence(loss=math.inf), False, "loss is inf"),
        (evidence(image=math.nan), False, "J per image is nan"),
        (evidence(adapted=math.nan), False, "adapted J is nan"),
        (evidence(image=0.99, adapted=0.99, benchmark="y"), False, "scored on something else (davis2016 x)"),
    ],
)
def test_the_gates_against_a_champion(candidate: Evidence, passed: bool, word: str):
    verdict = judge(candidate, Champion("4", evidence()), max_drop=0.02)
    assert verdict.passed is passed
    assert word in verdict.reason


def test_the_gates_without_a_champion_or_its_scores():
    assert judge(evidence(image=0.01), None, 0.02).passed
    assert not judge(evidence(loss=math.nan), None, 0.02).passed
    assert "registered without scores" in judge(evidence(), Champion("1", None), 0.02).reason


def test_evidence_survives_its_tags():
    exact = evidence(loss=1 / 3, image=0.1 + 0.2)
    assert Evidence.from_tags(exact.tags()) == exact
    assert Evidence.from_tags({**exact.tags(), "loss": "a lot"}) is None
    assert Evidence.from_tags({}) is None


# The registry


def test_the_champion_moves_only_through_the_gates(store: Path, checkpoint: Path):
    first = put("moves", checkpoint, scores(0.60, 0.70))
    assert (first.promoted, champion("moves"), first.uri) == (True, "1", "models:/moves/1")
    worse = put("moves", checkpoint, scores(0.55, 0.75))
    assert (worse.promoted, champion("moves")) == (False, "1")
    tags = connect().get_model_version("moves", "2").tags
    assert tags["gate.verdict"] == "refused"
    assert tags["gate.reason"] == worse.reason
    assert "J per image 0.550 is more than 0.02 below the 0.600 of champion version 1" in worse.reason
    better = put("moves", checkpoint, scores(0.62, 0.72))
    assert (better.promoted, champion("moves")) == (True, "3")


def test_a_lost_training_and_other_benchmarks_are_refused(store: Path, checkpoint: Path):
    assert not put("refuses", checkpoint, scores(0.9, 0.9), loss=math.nan).promoted
    assert not put("refuses", checkpoint, scores(0.9, 0.9), loss=None).promoted
    assert champion("refuses") is None
    assert put("refuses", checkpoint, scores(0.5, 0.5)).promoted
    other = put("refuses", checkpoint, scores(0.9, 0.9, names=("bear", "cow")))
    assert not other.promoted
    assert "scored on something else" in other.reason
    assert champion("refuses") == "3"


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
    for part in ("holiday/clips", "segment 3 is the object", "no label", "| image | 0.610 |", "dataset: davis2016"):
        assert part in card
    assert 1000 < len(card) < 5000
    location = client.get_model_version_download_uri("lineage", "1")
    assert Path(location, "model_card.md").read_text() == card
    assert Path(location).is_relative_to(store)
    pinned = {
        f"{name}=={installed_version(name).split('+')[0]}" for name in ("mlflow", "numpy", "safetensors", "torch")
    }
    assert set(Path(location, "requirements.txt").read_text().split()) == pinned
    assert not [path for path in Path(location).rglob("*") if path.suffix in (".pkl", ".pickle", ".pth")]


def test_a_checkpoint_without_an_object_is_not_registered(store: Path, tmp_path: Path):
    path = make_checkpoint(tmp_path / "early.safetensors", seed=1, object_segment=None)
    assert "no object segment is chosen yet" in user_error(put, "early", path, scores(0.5, 0.5))
    assert "early" not in {model.name for model in connect().search_registered_models()}


def test_promote_runs_the_gates_again(store: Path, checkpoint: Path):
    put("again", checkpoint, scores(0.60, 0.70))
    put("again", checkpoint, scores(0.50, 0.70))
    put("again", checkpoint, scores(0.59, 0.70))
    assert champion("again") == "3"
    reason = user_error(promote, "again", "2")
    assert reason.startswith("again version 2: not promoted: J per image 0.500")
    assert champion("again") == "3"
    assert promote("again", "1").promoted
    assert champion("again") == "1"
    assert "already" in promote("again", "1").reason
    connect().delete_registered_model_alias("again", "champion")
    assert promote("again", "2").reason.startswith("the first champion")
    assert champion("again") == "2"
    assert connect().get_model_version("again", "2").tags["gate.verdict"] == "passed"
    assert "has no version 8" in user_error(promote, "again", "8")


def test_the_list(store: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    put("listed", checkpoint, scores(0.60, 0.70))
    put("listed", checkpoint, scores(0.10, 0.20))
    connect().create_registered_model("strangers-model")
    list_models()
    printed = capsys.readouterr().out
    lines = printed[printed.index("listed version 2") :].splitlines()
    assert lines[0] == "listed version 2"
    assert lines[1].startswith("  label-free J 0.100 per image, 0.200 adapted; loss 0.25; davis2016")
    assert lines[2].startswith("  gates refused: J per image")
    assert lines[3] == "listed version 1 @champion"
    assert lines[5].startswith("  gates passed: the first champion")
    assert "strangers-model" not in printed


# Pulling


def test_pull_gives_the_checkpoint_back(store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put("pulled", checkpoint, scores(0.6, 0.7))
    second = make_checkpoint(tmp_path / "second.safetensors", seed=5)
    put("pulled", second, scores(0.1, 0.1))
    monkeypatch.chdir(tmp_path)  # the store is named by MLFLOW_TRACKING_URI alone
    path = pull("models:/pulled@champion")
    assert path == Path(".amd/models/pulled-1/model.safetensors")
    _, info = load_checkpoint(path)
    assert info == load_checkpoint(checkpoint)[1]
    ours, pulled = load_file(checkpoint), load_file(path)
    assert ours.keys() == pulled.keys()
    assert all(torch.equal(ours[name], pulled[name]) for name in ours)
    assert sha256(pull("models:/pulled/2")) == sha256(second)
    assert resolve_model("models:/pulled/2")[1].object_segment == OBJECT
    assert sha256(pull("models:/pulled/2", tmp_path / "mine.safetensors")) == sha256(second)
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


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
    for look in (lambda: pull("models:/amd@champion"), list_models, lambda: promote("amd", "1")):
        assert "no such MLflow store; run in the project's folder or set MLFLOW_TRACKING_URI" in user_error(look)
    assert not list(tmp_path.iterdir())


# The model that travels


@pytest.fixture(scope="module")
def travelled(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> PyFuncModel:
    folder = tmp_path_factory.mktemp("pyfunc") / "model"
    save_pyfunc(checkpoint, folder)
    return mlflow.pyfunc.load_model(str(folder))


def test_the_travelling_code_is_closed(tmp_path: Path):
    copy_travelling_code(tmp_path)
    modules = ["amd", "amd.checkpoint", "amd.model.inference"]
    printed = run_without_project(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {', '.join(modules)};"
        "print([m for m in sys.modules if m.split('.')[0] in ('amd', 'mlflow', 'PIL', 'pydantic', 'cv2')]);"
        "print(all(m.__file__.startswith(sys.path[0]) for n, m in sys.modules.items() if n.split('.')[0] == 'amd'))",
        tmp_path,
    )
    loaded, inside = printed.splitlines()
    assert inside == "True"
    files = {path.relative_to(tmp_path).with_suffix("") for path in tmp_path.rglob("*.py")}
    copied = {".".join(path.parts).removesuffix(".__init__") for path in files}
    assert set(json.loads(loaded.replace("'", '"'))) == copied  # nothing is missing, and nothing goes along unused


@pytest.mark.parametrize("sizes", [[(60, 80)], [(50, 90)] * 3, [(60, 80), (97, 41), (48, 48)]])
def test_the_pyfunc_gives_the_same_bits(sizes: list[tuple[int, int]], checkpoint: Path, travelled: PyFuncModel):
    given = images(*sizes)
    wanted = [expected(checkpoint, image) for image in given]
    assert any(0 < (mask == 255).mean() < 1 for _, mask in wanted)
    same_size = len(set(sizes)) == 1
    result = travelled.predict(np.stack(given) if same_size else given)
    assert isinstance(result["soft"], np.ndarray) is isinstance(result["mask"], np.ndarray) is same_size
    assert len(result["soft"]) == len(result["mask"]) == len(given)
    for soft, mask, (wanted_soft, wanted_mask) in zip(result["soft"], result["mask"], wanted, strict=True):
        assert soft.dtype == np.float32
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(soft, wanted_soft)
        np.testing.assert_array_equal(mask, wanted_mask)


def test_the_pyfunc_takes_one_image_and_json_numbers(checkpoint: Path, travelled: PyFuncModel):
    (image,) = images((60, 80))
    soft, mask = expected(checkpoint, image)
    for given in (image, image.astype(np.int64), image[None], [image.tolist()], image[:, ::-1][:, ::-1]):
        result = travelled.predict(given)
        assert result["soft"].shape == (1, 5, 60, 80)
        np.testing.assert_array_equal(result["soft"][0], soft)
        np.testing.assert_array_equal(result["mask"][0], mask)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.full((4, 4, 3), 300),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        [],
    ],
)
def test_the_pyfunc_refuses_what_is_no_image(wrong: object, travelled: PyFuncModel):
    with pytest.raises(ValueError, match="an image"):
        travelled.predict(wrong)


def test_the_pyfunc_runs_its_own_code_beside_ours(travelled: PyFuncModel):
    assert sys.modules["amd"] is amd
    assert sys.modules["amd.checkpoint"].load_checkpoint is load_checkpoint
    assert not [folder for folder in sys.path if "pyfunc" in folder]
    model = travelled.unwrap_python_model()
    assert model._inference.soft_masks is not soft_masks
    assert REPOSITORY not in Path(model._inference.__file__).parents


def test_the_champion_loads_where_the_project_is_not(store: Path, checkpoint: Path, tmp_path: Path):
    put("abroad", checkpoint, scores(0.6, 0.7))
    given = images((60, 80), (97, 41))
    np.savez(tmp_path / "images.npz", *given)
    script = """
import importlib.util, sys
assert importlib.util.find_spec("amd") is None and importlib.util.find_spec("stages") is None
import mlflow, numpy as np
images = list(np.load("images.npz").values())
result = mlflow.pyfunc.load_model("models:/abroad@champion").predict(images)
np.savez("result.npz", *result["soft"], *result["mask"])
assert importlib.util.find_spec("amd") is None
"""
    run_without_project(script, tmp_path)
    arrays = list(np.load(tmp_path / "result.npz").values())
    for number, image in enumerate(given):
        soft, mask = expected(checkpoint, image)
        np.testing.assert_array_equal(arrays[number], soft)
        np.testing.assert_array_equal(arrays[2 + number], mask)
    assert not (tmp_path / "mlflow.db").exists()


def run_without_project(script: str, folder: Path) -> str:
    """What a Python prints that has the installed packages but not this project: without .pth files, -I, -S."""
    packages = sysconfig.get_paths()["purelib"]
    start = f"import sys; sys.path.append({packages!r})\n"
    # One thread here as in this process, since the number of threads may change the last bit.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-I", "-S", "-c", start + script]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


# The stage


def test_the_stage(store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    Path("models").mkdir()
    shutil.copy(checkpoint, "models/amd.safetensors")
    write_json("metrics/vos.json", real_scores(tmp_path))
    write_json("metrics/pretrain.json", {"iterations": 2, "loss": 0.125, "curve": []})
    Path("report").mkdir()
    Path("report/report.html").write_text("<p>a report</p>")
    run_stage("register", register_stage.main)
    outcome = read_json("metrics/register.json")
    reason = outcome.pop("reason")
    assert outcome == {
        "name": "amd",
        "version": "1",
        "alias": "champion",
        "promoted": True,
        "uri": "models:/amd/1",
    }
    assert "J 1.000 per image, 0.429 adapted" in reason
    client = connect()
    version = client.get_model_version_by_alias("amd", "champion")
    assert version.tags["loss"] == "0.125"
    assert "davis2016: 1 sequences, 2 frames" in version.tags["scored_on"]
    kept = {entry.path for folder in ("metrics", "report") for entry in client.list_artifacts(version.run_id, folder)}
    assert kept == {"metrics/vos.json", "metrics/pretrain.json", "metrics/register.json", "report/report.html"}
    write_json("metrics/pretrain.json", {"loss": None})
    run_stage("register", register_stage.main)
    assert read_json("metrics/register.json")["alias"] is None
    assert client.get_model_version_by_alias("amd", "champion").version == version.version


def real_scores(folder: Path) -> dict:
    """What the evaluate_vos stage would write: perfect per image, four pixels off when adapted."""
    truth = np.zeros((20, 30), bool)
    truth[5:15, 5:15] = True
    for number in range(4):
        frame = f"{number:05d}"
        for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
            (folder / "davis" / kind / "480p/bear").mkdir(parents=True, exist_ok=True)
            path = folder / "davis" / kind / "480p/bear" / f"{frame}.{suffix}"
            Image.new("RGB", (30, 20)).save(path) if suffix == "jpg" else write_mask(path, truth)
        for prediction, shift in (("image", 0), ("adapted", 4)):
            mask, root = np.roll(truth, shift, axis=1), folder / "predictions" / prediction
            write_mask(prediction_path(masks_folder(root, "davis2016"), "bear", frame), mask)
            write_labels(prediction_path(segments_folder(root, "davis2016"), "bear", frame), mask.astype(np.uint8))
    predictions = {name: folder / "predictions" / name for name in ("image", "adapted")}
    return score_run(davis2016(folder / "davis"), predictions, segments_count=5)[0]
