"""Shared fixtures: where the real data is, and telemetry off."""

import os
import signal
from pathlib import Path

import pytest
from projects import REPOSITORY

os.environ.setdefault("DO_NOT_TRACK", "1")
# A shell's background job ignores Ctrl-C, and so would all programs that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("AMD_SHARED", REPOSITORY.parent / "shared"))

LONG = (  # of tens of seconds and more
    *("test_pipeline", "test_services", "test_scale_out", "test_interrupt", "test_faults"),
    *("test_postgres_s3", "test_fan_out", "test_parity", "test_training", "test_promotion_races", "test_refresh"),
    *("test_evaluate_flow", "test_embedding_training", "test_semantic_training", "test_inbox_flow", "test_sweep"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: the last one would keep one core busy, and the others idle."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos and benchmarks; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real data at {SHARED / 'data'} (set AMD_SHARED)")
    return SHARED / "data"


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of small inputs that are hard to read right; the test is skipped where it is absent."""
    if not (SHARED / "cases").is_dir():
        pytest.skip(f"no cases at {SHARED / 'cases'} (set AMD_SHARED)")
    return SHARED / "cases"


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of the published reference's numbers; the test is skipped where it is absent."""
    if not (SHARED / "parity").is_dir():
        pytest.skip(f"no parity files at {SHARED / 'parity'} (set AMD_SHARED)")
    return SHARED / "parity"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, as it is registered."""
    from registering import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("models") / "amd.safetensors", seed=0)


@pytest.fixture
def sequences(tmp_path: Path) -> list:
    """Two videos of DAVIS in which a square moves."""
    from squares import moving_squares

    return moving_squares(tmp_path / "davis")


@pytest.fixture(scope="session")
def registry_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with an MLflow store, which takes seconds to set up; tests use model names of their own."""
    from amd.runtime.tracking import connect

    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        connect()
    return folder


@pytest.fixture
def store(registry_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder as the current one, its store in use."""
    monkeypatch.chdir(registry_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry_store}/mlflow.db")
    monkeypatch.setenv("AMD_RUN_ID", "test-registry")
    return registry_store
