"""The inbox's flow with real programs and a real store: what is refused, what limits end, what a kill leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from adapt_project import change, copy_project, runs
from clips import encode
from waiting import wait_for

from amd.runtime.files import read_json
from flows.inbox.flow import inbox

# isort: split
from prefect.client.orchestration import get_client

MODEL = "models/amd.safetensors"
pytestmark = pytest.mark.usefixtures("prefect_server")
FLOW = "from flows.inbox.flow import inbox; inbox(model='models/amd.safetensors', adapt=100_000)"


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = copy_project(original, tmp_path / "project", monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("AMD_RUN_ID", "set by the flow; put back after the test")
    change("inbox", settle_s=0.0, retries=0)
    (folder / "inbox").mkdir()
    return folder


def reasons() -> dict[str, str]:
    """What was dropped and failed, with the reason, from the text files."""
    lines = [path.read_text() for path in Path("inbox/failed").glob("*/reason.txt")]
    return {name.strip("'"): reason.strip() for name, _, reason in (line.partition(": ") for line in lines)}


def test_what_is_no_video_is_set_aside_without_a_model(project: Path) -> None:
    """The reason is in a text file; nothing is opened, so the pipe and the missing model are no matter."""
    os.mkfifo("inbox/pipe.mp4")
    Path("inbox/link.mp4").symlink_to("/etc/passwd")
    Path("inbox/many.zip").write_bytes(b"PK")
    Path("inbox/a\nb.mp4").write_bytes(b"video")
    (project / "inbox/sub").mkdir()
    outcomes = inbox(model="nowhere.safetensors")
    assert reasons() == {
        "pipe.mp4": "not a regular file but a pipe, a socket or a device",
        "link.mp4": "a symbolic link; drop the file itself",
        "many.zip": "an archive; unpack it and drop the videos",
        "a\\nb.mp4": "a name with control characters; rename it",
        "sub": "a folder; drop videos one by one",
    }
    assert sorted(outcomes.values()) == sorted(reasons().values())
    assert not Path("mlflow.db").exists()
    assert Path("/etc/passwd").is_file()


def test_video_beyond_memory_or_time_fails_alone(project: Path) -> None:
    encode(Path("inbox/large.mp4"), frames=2, size=(3840, 2160))
    encode(Path("inbox/small.mp4"), frames=3)
    change("inbox", memory_mb=450, workers=2)
    assert list(inbox(model=MODEL).values()).count("done") == 1
    assert reasons().keys() == {"large.mp4"}
    assert reasons()["large.mp4"].startswith("needs more memory than inbox.memory_mb (450): ")

    encode(Path("inbox/slow.mp4"), frames=3)
    change("inbox", timeout_s=0.3)
    inbox(model=MODEL)
    assert reasons()["slow.mp4"] == "not finished after 0.3 s (inbox.timeout_s)"


def test_killed_run_is_gone_on_with_and_the_video_is_tracked_once(project: Path) -> None:
    encode(Path("inbox/clip.mp4"))
    with get_client(sync_client=True) as client:
        environment = os.environ | {"PREFECT_API_URL": str(client.api_url)}
    flow = subprocess.Popen([sys.executable, "-c", FLOW], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: bool(list(Path("inbox/working").glob("*/results/*/receipt.json"))), 120)
    finally:
        flow.send_signal(signal.SIGKILL)
        flow.wait()
    assert not Path("inbox/clip.mp4").exists()
    wait_for(lambda: list(inbox(model=MODEL, adapt=1).values()) == ["done"], 30)  # once its program has ended, too
    (done,) = Path("inbox/done").iterdir()
    (summary,) = read_json(done / "results/summary.json")["inputs"]
    assert (summary["frames"], summary["failed"]) == (12, False)
    assert [name for name, _, _ in runs("FINISHED")].count(done.name) == 1
    assert list(Path("inbox/working").iterdir()) == [Path("inbox/working/.lock")]
    assert inbox(model=MODEL) == {}
