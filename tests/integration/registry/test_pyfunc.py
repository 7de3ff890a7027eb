"""The model that travels: the pyfunc's masks are this project's to the bit, also where the project is not installed."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from clips import encode, encode_images
from layouts import write_davis
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from packaging.requirements import Requirement
from PIL import Image
from projects import REPOSITORY
from registering import expected, images, put, scores
from scenes import scene

import amd
from amd.data.benchmarks.davis import Sequence, davis2016
from amd.data.benchmarks.predictions import masks_folder, prediction_path
from amd.data.images import read_image
from amd.inference.inputs import segment_inputs
from amd.inference.segmenter import segment_sequence
from amd.inference.serving import METHODS
from amd.models.inference import soft_masks
from amd.models.loading import open_model
from amd.registry.packaging import copy_travelling_code, save_pyfunc
from amd.registry.pyfunc import REQUIREMENTS
from amd.runtime.registered import pull_pyfunc


@pytest.fixture(scope="module")
def travelled(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> PyFuncModel:
    folder = tmp_path_factory.mktemp("pyfunc") / "model"
    save_pyfunc(checkpoint, folder)
    return mlflow.pyfunc.load_model(str(folder))


def test_the_travelling_code_needs_no_more_than_its_requirements(tmp_path: Path, checkpoint: Path):
    copy_travelling_code(tmp_path)
    needless = ("mlflow", "pycocotools", "ruamel", "webdataset", "torch._dynamo")  # the last is torch's compiler
    printed = run_without_project(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import amd.inference.serving, amd.models.loading;"
        f"amd.models.loading.open_model({str(checkpoint)!r});"
        f"print([m for m in {needless} if m in sys.modules]);"
        "print(all(m.__file__.startswith(sys.path[0]) for n, m in sys.modules.items() if n.split('.')[0] == 'amd'))",
        tmp_path,
    )
    assert printed.splitlines() == ["[]", "True"]


def test_the_pyfunc_takes_one_image_and_json_numbers(checkpoint: Path, travelled: PyFuncModel):
    (image,) = images((60, 80))
    soft, mask = expected(checkpoint, image)
    assert travelled.predict(image).keys() == {"mask"}  # soft masks are large
    for given in (image, image.astype(np.int64), image[None], objects([image.tolist()]), image[:, ::-1][:, ::-1]):
        result = travelled.predict(given, params={"soft": True})
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
        np.array([[[0, 0, 0]], [0, 0]], dtype=object),
        np.array(["text", np.zeros((4, 4, 3), np.uint8), None], dtype=object),
    ],
)
def test_the_pyfunc_refuses_what_is_no_image(wrong: object, travelled: PyFuncModel):
    with pytest.raises(MlflowException, match=r"an image|images") as error:
        travelled.predict(wrong)
    assert "\n" not in str(error.value)


def test_it_has_a_signature_and_an_example_that_it_answers(travelled: PyFuncModel):
    signature = travelled.metadata.signature
    assert [param.name for param in signature.params.params] == ["soft", "method"]
    assert {"mask", "frames"} <= set(signature.outputs.input_names())
    (record,) = travelled.predict(travelled.input_example)
    assert Image.open(io.BytesIO(base64.b64decode(record["mask"]))).size == (64, 48)


def test_a_video_that_takes_too_long_is_given_up(
    travelled: PyFuncModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The server would go on computing after it told the client that it gave up."""
    clip = base64.b64encode(encode(tmp_path / "clip.mp4").read_bytes()).decode()
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "0.001")
    with pytest.raises(MlflowException, match=r"^not done in time; raise the server's --timeout"):
        travelled.predict(objects([clip]))


def test_the_pyfunc_runs_its_own_code_beside_ours(travelled: PyFuncModel):
    assert sys.modules["amd"] is amd
    assert sys.modules["amd.models.loading"].open_model is open_model
    assert not [folder for folder in sys.path if "pyfunc" in folder]
    model = travelled.unwrap_python_model()
    assert model._serving.soft_masks is not soft_masks
    assert REPOSITORY not in Path(model._serving.__file__).parents


def test_a_pulled_model_gives_the_pipelines_masks_in_a_bare_environment(
    store: Path, checkpoint: Path, tmp_path: Path, shared_sequence: Sequence
):
    """A virtual environment with the model's requirements and what they need, and no network.

    A whole video is segmented there as `amd segment` does here, by every method.
    """
    (tmp_path / "clips").mkdir()
    clip, (pictures, _) = tmp_path / "clips/clip.mp4", scene(moving=True, panning=1.0)
    encode_images(clip, pictures)
    for method in METHODS:
        segment_inputs([clip], tmp_path / method, None if method == "motion" else str(checkpoint), method)
    put("abroad", checkpoint, scores(0.6, 0.7))
    model, info = open_model(checkpoint)
    segment_sequence(model, info, shared_sequence, tmp_path / "predictions", "davis2016")
    frames = [read_image(frame.image) for frame in shared_sequence.frames]
    np.savez(tmp_path / "frames.npz", *frames)
    pull_pyfunc("models:/abroad@champion", tmp_path / "pulled")
    python = bare_environment(tmp_path / "venv")
    script = """
import importlib.util, json, mlflow, numpy as np
for name in ("amd", "stages", "prefect", "dvc", "decord", "webdataset"):
    assert importlib.util.find_spec(name) is None, name
frames = np.stack(list(np.load("frames.npz").values()))
model = mlflow.pyfunc.load_model("pulled")
np.savez("result.npz", *model.predict(frames)["mask"])
clip = np.array(["file:clip.mp4"], dtype=object)
for method in ("motion", "fused", "amd"):
    (record,) = model.predict(clip, params={"method": method})
    with open(f"{method}.json", "w") as file:
        json.dump(record["frames"], file)
"""
    run([*no_network(), python, "-I", "-c", script], tmp_path)
    masks = list(np.load(tmp_path / "result.npz").values())
    assert any(0 < (mask == 255).mean() < 1 for mask in masks)
    for frame, mask in zip(shared_sequence.frames, masks, strict=True):
        path = prediction_path(masks_folder(tmp_path / "predictions", "davis2016"), "clip", frame.name)
        np.testing.assert_array_equal(np.asarray(Image.open(path)), mask)
    for method in METHODS:
        frames = json.loads((tmp_path / f"{method}.json").read_text())
        paths = sorted((tmp_path / method / "clip/masks").iterdir())
        masks = [np.asarray(Image.open(io.BytesIO(base64.b64decode(frame["mask"])))) for frame in frames]
        assert len(masks) == len(pictures)
        assert any(0 < (mask == 255).mean() < 1 for mask in masks), method
        np.testing.assert_array_equal(masks, [np.asarray(Image.open(path)) for path in paths])
    assert not (tmp_path / "mlflow.db").exists()


def objects(items: list) -> np.ndarray:
    """An array of images of any sizes, or of texts, as MLflow takes them."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@pytest.fixture
def shared_sequence(tmp_path: Path) -> Sequence:
    """A benchmark's sequence of three frames, as JPEG."""
    frames = ((image, image[..., 0] > 0) for image in images((60, 80), (60, 80), (60, 80)))
    write_davis(tmp_path / "davis", "clip", frames)
    return davis2016(tmp_path / "davis")[0]


def bare_environment(folder: Path) -> Path:
    """The Python of a virtual environment whose packages are the model's requirements and what those need."""
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in closure(REQUIREMENTS):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            source = Path(distribution(name).locate_file(top))
            if source.exists() and not (packages / top).exists():
                (packages / top).symlink_to(source)
    return folder / "bin/python"


def closure(names: Iterable[str]) -> set[str]:
    """Distributions with all that they require, by their own metadata."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needed = (Requirement(text) for text in distribution(name).requires or [])
        waiting += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def no_network() -> list[str]:
    """What starts a program in a network namespace of its own, without as much as a loopback that is up."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    able = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if able and able.returncode == 0 else ["env", "https_proxy=http://127.0.0.1:9", "http_proxy="]


def run_without_project(script: str, folder: Path) -> str:
    """What a Python prints that has the installed packages but not this project: without .pth files, -I, -S."""
    packages = sysconfig.get_paths()["purelib"]
    return run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({packages!r})\n{script}"], folder)


def run(command: list[str | Path], folder: Path) -> str:
    """What a program prints; one thread in it as here, since the number of threads may change the last bit."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in environment.items() if not name.startswith("MLFLOW_")}
    environment["AMD_SERVE_FOLDER"] = str(folder / "clips")
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
