"""AMD, Appearance-Motion Decomposition: learning to see objects from unlabeled video."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amd.models.amd import AMD

# Nothing phones home unless its user says so.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DVC_NO_ANALYTICS", "true")


def load_model(model: str) -> "AMD":
    """The network of `models:/NAME@ALIAS`, of a checkpoint, or of the published reference's `.pth`.

    In evaluation mode, on the CPU. Raises amd.runtime.errors.UserError when it cannot be had.
    """
    from amd.models.loading import resolve_model

    return resolve_model(model)[0]


def __getattr__(name: str) -> Any:
    if name == "AMD":
        from amd.models.amd import AMD

        return AMD
    if name == "losses":
        return importlib.import_module("amd.training.losses")
    raise AttributeError(f"module 'amd' has no attribute {name!r}")
