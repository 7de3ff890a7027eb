"""What the registry's tests register."""

from pathlib import Path

import pytest
from registering import make_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "amd.safetensors", seed=0)
