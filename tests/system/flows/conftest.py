"""What the flows' tests share: a Prefect server a file, and a project to copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from adapt_project import make_project


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """A Prefect server of its own."""
    from flows import settings  # noqa: F401 - before Prefect

    # isort: split
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("original"))
