"""What the models' tests share: the published reference."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def reference_state(parity: Path) -> dict[str, torch.Tensor]:
    """The published reference's tensors, with the fixed values of the parity script."""
    spec = importlib.util.spec_from_file_location("reference_weights", parity / "reference_weights.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.state_dict()
