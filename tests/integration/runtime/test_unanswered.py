"""Programs whose server nobody runs, or that a proxy stands before: one line in time, and local servers are reached."""

from pathlib import Path

import pytest
from projects import enter_project, python
from waiting import silent_server


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enter_project(tmp_path, {}, monkeypatch)
    return tmp_path


def test_mlflow_that_nobody_answers_for(project: Path) -> None:
    with silent_server() as port:
        address = f"http://ann:s3cret@127.0.0.1:{port}"
        done = python("-m", "amd.cli", "models", "list", MLFLOW_TRACKING_URI=address)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: http://127.0.0.1:{port}: nobody answers (")
    assert done.stderr.endswith("or correct MLFLOW_TRACKING_URI\n")
    assert done.stderr.count("\n") == 1


def test_mlflow_is_asked_before_a_flow_starts_anything(project: Path) -> None:
    done = python("-m", "flows.pipeline", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: http://127.0.0.1:9: nobody answers (")
    assert done.stderr.count("\n") == 1
    assert not (project / ".amd/logs/prefect.log").exists()


@pytest.mark.parametrize("place", ["environment", "profile"])
def test_prefect_that_nobody_answers_for(project: Path, place: str) -> None:
    address = "http://127.0.0.1:9/api"
    if place == "profile":
        (project / "home").mkdir()
        text = f'active = "away"\n[profiles.away]\nPREFECT_API_URL = "{address}"\n'
        (project / "home/profiles.toml").write_text(text)
        more, named = {"PREFECT_HOME": str(project / "home")}, "PREFECT_API_URL in the profile away"
    else:
        more, named = {"PREFECT_API_URL": address}, "PREFECT_API_URL"
    done = python("-m", "flows.pipeline", **more)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {address}: nobody answers (")
    assert done.stderr.endswith(f"or correct {named}\n")
    assert done.stderr.count("\n") == 1


def test_servers_of_this_machine_are_reached_past_a_proxy() -> None:
    program = "import amd, urllib.request; print(urllib.request.proxy_bypass('127.0.0.1'), amd.os.environ['no_proxy'])"
    clean = dict.fromkeys(("no_proxy", "NO_PROXY"), "")
    done = python("-c", program, http_proxy="http://127.0.0.1:9", **clean)
    assert done.stdout == "True 127.0.0.1,localhost,::1\n"
    done = python("-c", program, **(clean | {"NO_PROXY": "example.org"}))
    assert done.stdout == "True example.org,127.0.0.1,localhost,::1\n"
