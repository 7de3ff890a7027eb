"""The model that travels, as files: an MLflow pyfunc (amd.registry.pyfunc) with its checkpoint and the code it runs.

Input: a checkpoint. Output: a folder that `mlflow.pyfunc.load_model` takes where this project is not installed.
"""

import os
import shutil
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow.pyfunc
from mlflow.models import Model, ModelSignature

from amd.registry import pyfunc
from amd.registry.signature import SEGMENTER, example
from amd.runtime.registered import CHECKPOINT_NAME

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it counts files, copied ones too


def save_pyfunc(
    checkpoint: Path, folder: Path, description: Model | None = None, signature: ModelSignature = SEGMENTER
) -> None:
    """Write the model that travels to a new folder: checkpoint, code, and the requirements as installed here."""
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        shutil.copyfile(checkpoint, stage / CHECKPOINT_NAME)
        copy_travelling_code(stage / "code")
        mlflow.pyfunc.save_model(
            folder,
            python_model=pyfunc.__file__,
            artifacts={"checkpoint": str(stage / CHECKPOINT_NAME), "code": str(stage / "code")},
            model_config={"device": "cpu"},
            pip_requirements=[_requirement(package) for package in pyfunc.REQUIREMENTS],
            mlflow_model=description,
            signature=signature,
            input_example=example(),
        )


def copy_travelling_code(folder: Path) -> None:
    """Copy this package to `folder`/amd, so that the model runs where the project is not installed."""
    package = Path(pyfunc.__file__).parent.parent
    shutil.copytree(package, folder / "amd", ignore=shutil.ignore_patterns("__pycache__"))


def _requirement(package: str) -> str:
    """The installed version, without a build's suffix (2.13.0+cpu), which no package index has."""
    return f"{package}=={installed_version(package).partition('+')[0]}"
