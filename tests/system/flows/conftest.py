"""What the flows' tests share: an empty database of Prefect, a server a file, and a project to copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from adapt_project import make_project
from filelock import FileLock


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, which takes a server seconds to set up: one for all processes of these tests."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home, part = folder / "prefect", folder / "prefect-part"
    with FileLock(folder / "prefect.lock"):
        if not home.exists():
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            subprocess.run(command, env=os.environ | {"PREFECT_HOME": str(part)}, capture_output=True, check=True)
            part.rename(home)
    return home / "prefect.db"


@pytest.fixture(scope="module")
def prefect_server(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server of its own."""
    from flows import settings  # noqa: F401 - before Prefect

    # isort: split
    from prefect.testing.utilities import prefect_test_harness

    folder = tmp_path_factory.mktemp("server")
    shutil.copy(prefect_database, folder / "prefect-test.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(folder))  # where its database lies
        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture(scope="module")
def original(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, whose Prefect has a database already."""
    project = make_project(tmp_path_factory.mktemp("original"))
    (project / ".amd/prefect").mkdir(parents=True)
    shutil.copy(prefect_database, project / ".amd/prefect/prefect.db")
    return project
