"""The simulation runs at a tiny size: its rows, what its steps really leave behind, and going on after an end."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amd.data.ingest.manifest import read_manifest
from amd.runtime.files import read_json, sha256
from benchmarks import simulation
from benchmarks.simulated import Sizes, Step
from benchmarks.simulated.__main__ import _run
from benchmarks.simulated.inputs import make_inputs

REPOSITORY = Path(__file__).resolve().parents[2]
INPUTS, VIDEOS = 21, 10
MORE = INPUTS + 10
STEPS = [
    ("ingest: all inputs are new", INPUTS),
    ("ingest: nothing changed", INPUTS),
    ("ingest: 10 inputs are new", MORE),
    ("manifest: read, checked, told in words", MORE),
    ("dvc repro: the first time", INPUTS),
    ("dvc status: nothing changed", INPUTS),
    ("dvc repro: nothing changed", INPUTS),
    ("dvc repro: 10 inputs are new", MORE),
    ("fan-out: all videos are to be done", VIDEOS),
    ("fan-out: all videos are done", VIDEOS),
    ("mlflow: a nested run a video", VIDEOS // 10),
]


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    """The simulation handles SIGTERM its own way."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run of all parts leaves."""
    folder = tmp_path_factory.mktemp("simulation")
    words = [sys.executable, "-m", "benchmarks.simulation", *options(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def options(folder: Path) -> list[str]:
    sizes = ["--inputs", str(INPUTS), "--videos", str(VIDEOS)]
    return [*sizes, "--folder", str(folder / "scratch"), "--json", str(folder / "rows.json")]


def query(database: Path, words: str) -> list[tuple]:
    with sqlite3.connect(database) as connection:
        return connection.execute(words).fetchall()


def test_every_step_is_a_row(folder: Path):
    report = json.loads((folder / "rows.json").read_text())
    assert report["machine"]["cores"] >= 1
    assert [(row["step"], row["items"]) for row in report["rows"]] == STEPS
    for row in report["rows"]:
        assert row["seconds"] > 0
        assert 10 < row["peak_mb"] < 4000
        assert row["disk_mb"] is None or row["disk_mb"] > 0
    printed = (folder / "printed").read_text().splitlines()
    assert [line.partition("  ")[0] for line in printed[1:]] == [step for step, _ in STEPS]


def test_the_steps_did_their_work(folder: Path):
    scratch = folder / "scratch"
    rows = read_manifest(scratch / "ingest/manifest.parquet")
    assert [row["status"] for row in rows] == ["accepted"] * MORE
    assert len({row["sha256"] for row in rows}) == MORE
    assert sum(row["kind"] == "video" for row in rows) == 4  # numbers 0, 10, 20, 30
    assert len(list((scratch / "dvc/shards").iterdir())) == MORE
    runs = query(scratch / "mlflow/mlflow.db", "SELECT status, COUNT(*) FROM runs WHERE name LIKE 'video-%' GROUP BY 1")
    assert runs == [("FINISHED", VIDEOS // 10)]


def test_prefect_has_every_video_once_though_its_server_ended(folder: Path):
    database = folder / "scratch/fan_out/.amd/prefect/prefect.db"
    found = query(database, "SELECT name, state_name FROM task_run ORDER BY name")
    assert found == [(f"video-{number:06d}", "Completed") for number in range(VIDEOS)]  # none in the second run
    assert query(database, "SELECT state_name FROM flow_run") == [("Completed",)] * 2
    events = map(json.loads, (folder / "scratch/fan_out/.amd/logs/events.jsonl").read_text().splitlines())
    linked = {event["flow_run"]: event["run"] for event in events if event["event"] == "flow"}
    assert dict(query(database, "SELECT id, name FROM flow_run")) == linked
    report = read_json(folder / "scratch/fan_out/adapt.json")
    assert (report["videos"], report["failed"]) == (VIDEOS, 0)


def test_what_is_done_is_not_repeated(folder: Path, capsys: pytest.CaptureFixture[str]):
    before = json.loads((folder / "rows.json").read_text())["rows"]
    manifest = (folder / "scratch/ingest/manifest.parquet").stat().st_mtime_ns
    simulation.main(options(folder))
    assert json.loads((folder / "rows.json").read_text())["rows"] == before
    assert capsys.readouterr().out == (folder / "printed").read_text()
    assert (folder / "scratch/ingest/manifest.parquet").stat().st_mtime_ns == manifest


def test_seconds_of_a_step_that_was_cut_short_add_up(tmp_path: Path):
    record, tries = tmp_path / "took.json", []

    def work(_: Sizes) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise KeyboardInterrupt

    step = Step("work", work)
    with pytest.raises(KeyboardInterrupt):
        _run(step, Sizes(1, 1), record)
    first = read_json(record)
    assert first["seconds"] > 0
    record.write_text(json.dumps(first | {"seconds": 100.0, "peak_mb": 1e6}))
    took = _run(step, Sizes(1, 1), record)
    assert 100.0 < took["seconds"] < 101.0
    assert took["peak_mb"] == 1e6


def test_a_step_that_fails_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ending:
        simulation.main(["--only", "ingest", "--inputs", "0", "--folder", str(tmp_path)])
    assert ending.value.code == 2
    assert "ingest, step 1: " in capsys.readouterr().err
    assert "videos: no such file or folder" in (tmp_path / "ingest.log").read_text()


def test_inputs_are_all_different(tmp_path: Path):
    make_inputs(tmp_path / "videos", 0, 12)
    make_inputs(tmp_path / "videos", 12, 3)
    files = [path for path in (tmp_path / "videos").rglob("*") if path.is_file()]
    assert len(files) == 2 + 13 * 2
    assert len({sha256(path) for path in files}) == len(files)
