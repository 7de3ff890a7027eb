"""The model that travels: what MLflow runs where this project is not installed ("models from code", no pickle).

Input: one image uint8 H,W,3, a batch B,H,W,3, or a list of images of different sizes. Output: what
amd.models.serving says of its kind, such as {"soft": float32 B,c,H,W, "mask": uint8 B,H,W, 0 or 255}; lists of arrays
where sizes differ. The arrays are those of the project to the bit.

MLflow copies this file into the model; beside it travel the checkpoint and this package.
That one is imported aside: it neither uses nor disturbs an `amd` that is installed, or another version's.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel, PythonModelContext

REQUIREMENTS = ("filelock", "mlflow", "numpy", "safetensors", "torch")


class ObjectSegmenter(PythonModel):
    """Soft masks and the object's mask of images of any size, or their embeddings: as the checkpoint's kind is.

    Runs on the CPU; `mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})` chooses another device.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint with the code that came with it."""
        with _travelling_package(context.artifacts["code"]):
            from amd.models import serving

            self._answer = serving.answer_of(context.artifacts["checkpoint"], context.model_config["device"])
        self._serving = serving

    # np.ndarray stands for lists of arrays too: MLflow warns about any hint that says so.
    def predict(self, model_input: np.ndarray) -> dict[str, Any]:  # type: ignore[override]  # MLflow takes it too
        """Answers for one image, a batch, or a list; ValueError for anything else."""
        answers = [self._answer(image) for image in as_images(model_input)]  # one by one: a batch changes no bit
        return {name: _stacked([answer[name] for answer in answers]) for name in answers[0]}


def _stacked(arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return np.stack(arrays) if len({array.shape for array in arrays}) == 1 else arrays


def as_images(given: Any) -> list[np.ndarray]:
    """One image, a batch or a list as a list of uint8 H,W,3; ValueError when it is none of them."""
    if isinstance(given, np.ndarray) and given.ndim == 3:
        given = given[None]
    if not isinstance(given, np.ndarray | list | tuple) or len(given) == 0:
        raise ValueError(f"an image H,W,3, a batch B,H,W,3 or a list of images is needed, not {_describe(given)}")
    return [_as_image(image) for image in given]


def _as_image(given: Any) -> np.ndarray:
    """Whole numbers 0 to 255 of any type, since a batch that came as JSON is int64."""
    image = np.asarray(given)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image has shape H,W,3, not {_describe(image)}")
    if not np.issubdtype(image.dtype, np.integer) or image.min() < 0 or image.max() > 255:
        raise ValueError(f"an image has whole numbers from 0 to 255, not {_describe(image)}")
    return np.array(image, dtype=np.uint8, order="C")


def _describe(given: Any) -> str:
    return f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else f"{type(given).__name__}"


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
