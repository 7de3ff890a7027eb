"""The model that travels: the pyfunc's masks are this project's to the bit, also where the project is not installed."""

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
from mlflow.pyfunc import PyFuncModel
from packaging.requirements import Requirement
from PIL import Image
from projects import REPOSITORY
from registering import expected, images, put, scores

import amd
from amd.data.benchmarks.davis import Sequence, davis2016
from amd.data.benchmarks.predictions import masks_folder, prediction_path
from amd.data.images import read_image
from amd.inference.segmenter import segment_sequence
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


def test_the_travelling_code_needs_no_more_than_its_requirements(tmp_path: Path):
    copy_travelling_code(tmp_path)
    printed = run_without_project(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import amd.models.serving;"
        "print([m for m in sys.modules if m.split('.')[0] in ('mlflow', 'PIL', 'cv2', 'ruamel')]);"
        "print(all(m.__file__.startswith(sys.path[0]) for n, m in sys.modules.items() if n.split('.')[0] == 'amd'))",
        tmp_path,
    )
    assert printed.splitlines() == ["[]", "True"]


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
    assert sys.modules["amd.models.loading"].open_model is open_model
    assert not [folder for folder in sys.path if "pyfunc" in folder]
    model = travelled.unwrap_python_model()
    assert model._serving.soft_masks is not soft_masks
    assert REPOSITORY not in Path(model._serving.__file__).parents


def test_a_pulled_model_gives_the_pipelines_masks_in_a_bare_environment(
    store: Path, checkpoint: Path, tmp_path: Path, shared_sequence: Sequence
):
    """A virtual environment with the model's requirements and what they need, and no network."""
    put("abroad", checkpoint, scores(0.6, 0.7))
    model, info = open_model(checkpoint)
    segment_sequence(model, info, shared_sequence, tmp_path / "predictions", "davis2016")
    frames = [read_image(frame.image) for frame in shared_sequence.frames]
    np.savez(tmp_path / "frames.npz", *frames)
    pull_pyfunc("models:/abroad@champion", tmp_path / "pulled")
    python = bare_environment(tmp_path / "venv")
    script = """
import importlib.util, mlflow, numpy as np
for name in ("amd", "stages", "prefect", "dvc", "decord", "webdataset"):
    assert importlib.util.find_spec(name) is None, name
frames = list(np.load("frames.npz").values())
result = mlflow.pyfunc.load_model("pulled").predict(frames)
np.savez("result.npz", *result["mask"])
"""
    run([*no_network(), python, "-I", "-c", script], tmp_path)
    masks = list(np.load(tmp_path / "result.npz").values())
    assert any(0 < (mask == 255).mean() < 1 for mask in masks)
    for frame, mask in zip(shared_sequence.frames, masks, strict=True):
        path = prediction_path(masks_folder(tmp_path / "predictions", "davis2016"), "clip", frame.name)
        np.testing.assert_array_equal(np.asarray(Image.open(path)), mask)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.fixture
def shared_sequence(tmp_path: Path) -> Sequence:
    """A benchmark's sequence of three frames, as JPEG."""
    for number, image in enumerate(images((60, 80), (60, 80), (60, 80))):
        for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
            path = tmp_path / "davis" / kind / "480p/clip" / f"{number:05d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image if suffix == "jpg" else image[..., 0]).save(path)
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
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
