"""The fan-out over videos, with a real Prefect server and real programs."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from adapt_project import (
    CLIPS,
    attempts,
    change,
    copy_project,
    list_clips,
    most_programs,
    programs_of,
    receipts,
    runs,
    wanted,
    working_stage,
    written,
)  # fmt: skip

from amd.runtime.errors import UserError
from flows.adapt import adapt_videos
from flows.runners import devices, share

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_project(original, tmp_path / "project", monkeypatch)


def test_failed_video_is_reported_and_alone_done_again(project: Path) -> None:
    broken = Path("data/corpus/heldout/JPEGImages/480p/clip-0001/00002.jpg")
    good = broken.read_bytes()
    broken.write_bytes(b"not an image")
    message = r"1 of 3 videos failed.*clip-0001 \(.*00002\.jpg: not a readable image"
    with most_programs(project) as seen, pytest.raises(UserError, match=message):
        adapt_videos()
    assert max(seen) == 2
    report = json.loads(Path("metrics/adapt.json").read_text())
    assert (report["videos"], report["failed"]) == (3, 1)
    assert report["per_video"]["clip-0001"]["log"] == ".amd/logs/adapt/clip-0001.log"
    assert attempts("clip-0001") == 1  # another try would not mend the file
    first = receipts()
    assert set(first) == {"clip-0000", "clip-0002"}
    assert written("clip-0000") == wanted("clip-0000")

    broken.write_bytes(good)
    report = adapt_videos()
    assert report == json.loads(Path("metrics/adapt.json").read_text())
    rows = report["per_video"]
    assert (set(rows), report["videos"], report["failed"]) == (set(CLIPS), 3, 0)
    assert report["seconds"] == pytest.approx(sum(rows[name]["seconds"] for name in CLIPS))
    second = receipts()
    assert {name: second[name] for name in first} == first
    assert written("clip-0001") == wanted("clip-0001")

    list_clips("clip-0000")
    change("adapt", iterations=2)
    row = adapt_videos()["per_video"]["clip-0000"]
    assert (rows["clip-0000"]["iterations"], row["iterations"]) == (0, 2)
    assert row["first_loss"] > 0
    assert row["last_loss"] != row["first_loss"]
    assert receipts().keys() == {"clip-0000"}
    assert receipts()["clip-0000"] > second["clip-0000"]
    assert written("clip-0001") == written("clip-0002") == set()


def test_timeout_is_tried_again_and_then_reported(project: Path) -> None:
    change("adapt", timeout_s=0.3, retries=2, iterations=100_000)
    list_clips("clip-0000", "clip-0002")
    with pytest.raises(UserError, match=r"2 of 2 videos failed.*clip-0002 \(not finished after 0.3 s"):
        adapt_videos()
    assert [attempts(name) for name in ("clip-0000", "clip-0002")] == [3, 3]
    assert not Path("predictions/adapted/done").exists()
    assert programs_of(project) == 0


def test_missing_checkpoint(project: Path) -> None:
    Path("models/amd.safetensors").unlink()
    with pytest.raises(UserError, match=r"models/amd\.safetensors: no such checkpoint"):
        adapt_videos()


def test_stage_that_is_ended_ends_its_programs_and_runs(project: Path) -> None:
    """The stage as DVC runs it, with its own temporary server and MLflow."""
    change("adapt", iterations=100_000)
    with working_stage() as stage:
        os.killpg(stage.pid, signal.SIGINT)  # Ctrl-C goes to the whole group
        message = stage.communicate(timeout=120)[1]
    assert stage.returncode == 130
    assert message.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in message
    assert programs_of(project) == 0
    assert not Path("predictions/adapted/done").exists()
    parent, adapt, first, second = runs("FAILED")  # the pipeline's name begins with the date
    assert [run[0] for run in (adapt, first, second)] == ["adapt", "clip-0000", "clip-0001"]
    assert adapt[2] == parent[1]
    assert first[2] == second[2] == adapt[1]
    with closing(sqlite3.connect(project / ".amd/prefect/prefect.db")) as database:  # of the stage's own server
        assert database.execute("SELECT count(*) FROM flow_run").fetchone() == (1,)


def test_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [share(index, 3, ["2", "5"])["CUDA_VISIBLE_DEVICES"] for index in range(5)] == ["2", "5", "2", "5", "2"]
    assert share(0, 3, ["2"])["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in share(0, 1, [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7a")
    assert devices() == ["4", "GPU-7a"]
