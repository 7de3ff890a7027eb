"""The model that travels: what MLflow runs where this project is not installed ("models from code", no pickle).

Enters: one image uint8 H,W,3, a batch B,H,W,3, or a list of images of different sizes. Leaves: {"soft": float32
B,c,H,W, "mask": uint8 B,H,W, 0 or 255}; lists of c,H,W and H,W where sizes differ. The masks are those of
amd.model.inference to the bit.

MLflow copies this file into the model; beside it travel the checkpoint and the modules that TRAVELLING names.
Those are imported aside: they neither use nor disturb an `amd` that is installed, or another version's.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext

# Of the package `amd`: what reading a checkpoint and segmenting an image import, and nothing else.
TRAVELLING = ("__init__.py", "errors.py", "files.py", "checkpoint.py", "model")
REQUIREMENTS = ("mlflow", "numpy", "safetensors", "torch")


class ObjectSegmenter(PythonModel):
    """Soft masks and the object's mask of images of any size.

    Runs on the CPU; `mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})` chooses another device.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint with the code that came with it."""
        with _travelling_package(context.artifacts["code"]):
            from amd.checkpoint import load_checkpoint
            from amd.model import inference
        model, self._info = load_checkpoint(context.artifacts["checkpoint"])
        self._model = model.to(context.model_config["device"])
        self._inference = inference

    # np.ndarray stands for lists of arrays too: MLflow warns about any hint that says so.
    def predict(self, model_input: np.ndarray) -> dict[str, Any]:
        """Masks of one image, a batch, or a list; ValueError for anything else."""
        soft, masks = zip(*map(self._segment, as_images(model_input)), strict=True)
        if len({mask.shape for mask in masks}) == 1:
            return {"soft": np.stack(soft), "mask": np.stack(masks)}
        return {"soft": list(soft), "mask": list(masks)}

    def _segment(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Soft masks c,H,W and the mask H,W of one image; one by one, so that a batch changes no bit."""
        soft = self._inference.soft_masks(self._model, torch.from_numpy(image), self._info.short_edge)
        mask = self._inference.object_mask(soft, self._info.object_segment)
        return soft.cpu().numpy(), mask.cpu().numpy().astype(np.uint8) * 255


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
