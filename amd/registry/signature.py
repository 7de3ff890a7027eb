"""Signatures of registered models, with an example: what MLflow's pages and clients show, and what servers take.

The input is a tensor of objects of any length: MLflow lets through arrays of every size, lists of text that came over
HTTP, and a DataFrame's one column, and amd.inference.serving says what is wrong with what is none of them.
"""

import base64

import cv2
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Object, Property

from amd.data.images import encode_png

_INPUTS = Schema([TensorSpec(np.dtype("O"), (-1,))])
_ALWAYS = {"timestamp": DataType.double, "mask": DataType.string, "confidence": DataType.double}
_FRAME = Object(
    [Property(name, kind) for name, kind in _ALWAYS.items()]
    + [Property(name, DataType.string, required=False) for name in ("soft", "reason")]
)
_OUTPUTS: dict[str, DataType | Array] = {"mask": DataType.string, "soft": DataType.string, "frames": Array(_FRAME)}
SEGMENTER = ModelSignature(
    _INPUTS,
    Schema([ColSpec(kind, name, required=False) for name, kind in _OUTPUTS.items()]),
    ParamSchema([ParamSpec("soft", DataType.boolean, False), ParamSpec("method", DataType.string, "")]),
)
EMBEDDING = ModelSignature(_INPUTS, Schema([ColSpec(AnyType(), "embedding"), ColSpec(AnyType(), "objectness")]))


def example() -> np.ndarray:
    """A small picture of a disc, as a client sends it: base64 of a PNG."""
    image = np.full((48, 64, 3), (70, 120, 80), np.uint8)
    cv2.circle(image, (40, 22), 14, (210, 150, 60), -1)
    return np.array([base64.b64encode(encode_png(image)).decode("ascii")], dtype=object)
