"""AMD, Appearance-Motion Decomposition: learning to see objects from unlabeled video."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

    from amd.models.amd import AMD

__version__ = "0.2.0"  # the one place; pyproject.toml reads it from here

# Nothing phones home unless its user says so.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DVC_NO_ANALYTICS", "true")

# Servers on this machine are reached directly, whatever proxy leads elsewhere; every HTTP library reads these.
for _name in ("no_proxy", "NO_PROXY"):
    _hosts = os.environ.get(_name) or os.environ.get(_name.swapcase(), "")
    _missing = [host for host in ("127.0.0.1", "localhost", "::1") if host not in _hosts.split(",")]
    if _hosts != "*" and _missing:
        os.environ[_name] = ",".join(filter(None, [_hosts, *_missing]))


def open_model(uri: str, device: str = "cpu") -> "tuple[Module, Any]":
    """The network of `models:/NAME@ALIAS`, of a checkpoint of any kind, or of the published reference's `.pth`.

    In evaluation mode, with what travels with its weights (amd.models.loading.open_model). Raises
    amd.runtime.errors.UserError when it cannot be had.
    """
    from amd.models import loading

    return loading.open_model(uri, device)


def load_model(model: str) -> "AMD":
    """The AMD of such a name, on the CPU; UserError for a model of another kind too."""
    from amd.models.amd import AMD
    from amd.models.loading import open_as

    return open_as(AMD, model)[0]


def __getattr__(name: str) -> Any:
    if name == "AMD":
        from amd.models.amd import AMD

        return AMD
    if name == "Segmenter":
        from amd.inference.segmenter import Segmenter

        return Segmenter
    if name == "losses":
        return importlib.import_module("amd.training.losses")
    raise AttributeError(f"module 'amd' has no attribute {name!r}")
