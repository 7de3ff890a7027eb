"""The model that travels: what MLflow runs where this project is not installed ("models from code", no pickle).

Input and output: as amd.inference.serving says; arrays are those of the project to the bit. MLflow copies this file
into the model; beside it travel the checkpoint and this package. That one is imported aside: it neither uses nor
disturbs an `amd` that is installed, or another version's.
"""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

REQUIREMENTS = (
    *("av", "filelock", "mlflow", "numpy", "opencv-python-headless", "pillow", "pillow-heif", "psutil", "pydantic"),
    *("safetensors", "scipy", "simplejpeg", "torch", "tqdm"),
)
SERVING = "amd.inference.serving"


class Refusal(MlflowException):
    """A reason in one line that stays one: MLflow's server would put all of the input before it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "message" or "message" not in vars(self):
            super().__setattr__(name, value)


class ObjectSegmenter(PythonModel):
    """Masks of images and videos, or embeddings of images: as the checkpoint's kind is.

    Runs on the CPU; `mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})` chooses another device.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint with the code that came with it, all of which is imported now."""
        with _travelling_package(context.artifacts["code"]):
            self._serving: Any = importlib.import_module(SERVING)
            self._answers = self._serving.open_answers(context.artifacts["checkpoint"], context.model_config["device"])

    # np.ndarray is what MLflow makes of lists and of a DataFrame's column, too.
    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:  # type: ignore[override]
        """The answer; Refusal, one line, for input that is none, and for what goes wrong with it."""
        try:
            return self._serving.answer(self._answers, model_input, params or {})
        except self._serving.UserError as error:
            raise Refusal(str(error), INVALID_PARAMETER_VALUE) from None
        except Exception as error:  # of a decoder or the network on input that nobody vouches for
            logging.getLogger(__name__).exception("a request failed")
            line = " ".join(f"unexpected {type(error).__name__}: {error}".split())
            raise Refusal(line[:500], INTERNAL_ERROR) from None


@contextmanager
def _travelling_package(folder: str | Path) -> Iterator[None]:
    """Inside, `import amd` is the package in `folder`; after, it is again what it was."""
    resident = {name: sys.modules.pop(name) for name in _modules_of_amd()}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in _modules_of_amd():
            del sys.modules[name]
        sys.modules.update(resident)


def _modules_of_amd() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "amd"]


mlflow.models.set_model(ObjectSegmenter())
