"""The services with PostgreSQL and an S3-compatible store behind them, as a team runs them: real servers of both."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from adapt_project import make_project
from backends import S3, postgres, seaweed
from clips import encode
from projects import change_params
from registering import make_checkpoint, put, scores
from service_runs import Services, prefect_client, run_deployment, running_services

from amd.runtime.files import read_json


class Team(NamedTuple):
    """Services, and what is behind them."""

    services: Services
    postgres: str  # HOST:PORT
    s3: S3


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    servers, project = tmp_path_factory.mktemp("servers"), make_project(tmp_path_factory.mktemp("project"))
    change_params(project / "params.yaml", inbox={"settle_s": 0.0})
    with postgres(servers / "postgres", ["mlflow", "prefect"]) as address, seaweed(servers / "s3") as s3:
        stores = {
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://postgres:hush@{address}/mlflow",
            "AMD_PREFECT_DATABASE_URL": f"postgresql+asyncpg://postgres:hush@{address}/prefect",
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://amd/mlflow",
        }
        with running_services(project, **stores, **s3.environment) as services:
            yield Team(services, address, s3)


def rows(team: Team, database: str, query: str, *values: str) -> list[tuple]:
    """What PostgreSQL itself says."""
    import psycopg2

    host, port = team.postgres.split(":")
    connection = psycopg2.connect(host=host, port=port, user="postgres", dbname=database)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def test_champion_from_s3_segments_a_dropped_video(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model comes out of the bucket, runs are in PostgreSQL, and the contact sheet is in the bucket again."""
    project = team.services.project
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.services.mlflow)
    champion = make_checkpoint(tmp_path / "champion.safetensors", seed=0)
    put("amd", champion, scores(0.5, 0.5))
    assert any(key.endswith(".safetensors") for key in team.s3.objects("mlflow/"))
    (project / "inbox").mkdir(exist_ok=True)  # services make it
    encode(project / "inbox/clip.mp4")
    with prefect_client(team.services) as client:
        run = run_deployment(client, "inbox/inbox")
    assert run.state.is_completed(), run.state.message
    (done,) = (project / "inbox/done").iterdir()
    assert len(list(done.glob("results/*/masks/*.png"))) == 12
    assert (project / ".amd/models/amd-1/model.safetensors").read_bytes() == champion.read_bytes()

    assert rows(team, "prefect", "SELECT state_type FROM flow_run WHERE id = %s", str(run.id)) == [("COMPLETED",)]
    query = "SELECT run_uuid, status, artifact_uri FROM runs WHERE name = %s"
    ((video, status, place),) = rows(team, "mlflow", query, done.name)
    assert status == "FINISHED"
    assert place.startswith("mlflow-artifacts:/")
    (sheet,) = [key for key in team.s3.objects("mlflow/") if video in key]
    stored = team.s3.client().get_object(Bucket="amd", Key=sheet)["Body"].read()
    assert stored == (done / "contact_sheet.png").read_bytes()


def test_nothing_is_kept_in_files_instead(team: Team) -> None:
    project = team.services.project
    assert not list(project.glob("mlflow.db*"))
    assert not (project / "mlartifacts").exists()
    assert not list((project / ".amd/services").rglob("*.db"))


def test_password_is_for_nobody_to_read(team: Team) -> None:
    """Not in logs, and not on command lines, which every user of a machine can list."""
    folder = team.services.project / ".amd/services"
    services = [psutil.Process(read_json(path)["pid"]) for path in folder.glob("*.pid")]
    tree = services + [child for service in services for child in service.children(recursive=True)]
    assert len(services) == 3
    assert "hush" in services[0].environ()["AMD_PREFECT_DATABASE_URL"]
    assert not any("hush" in word for process in tree for word in process.cmdline())
    logs = [path.read_text(errors="replace") for path in folder.glob("*.log")]
    assert all(logs)
    assert not any("hush" in text for text in logs)
