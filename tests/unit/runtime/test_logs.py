"""The event log: what a line says, one run's id across processes, failures' last words, bounded size, no half lines."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from projects import REPOSITORY

from amd.runtime import logs
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.logs import event, logged, run_id
from stages import run_stage

WRITER = (
    "import sys; from amd.runtime.logs import event; [event('n', writer=sys.argv[1], number=n) for n in range(200)]"
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AMD_RUN_ID", "AMD_STAGE"):
        monkeypatch.delenv(name, raising=False)


def lines(name: str = "events.jsonl") -> list[dict]:
    return [json.loads(line) for line in Path(".amd/logs", name).read_text().splitlines()]


def python(program: str, *arguments: str, **environment: str) -> subprocess.Popen:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    words, environment = [sys.executable, "-c", program, *arguments], os.environ | {"PYTHONPATH": path} | environment
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_line_says_when_what_and_whose(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AMD_RUN_ID", "run 7")
    event("video", "warning", video="Bär 熊\nü", seconds=1.5, path=Path("a/b"))
    (line,) = lines()
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))).total_seconds()) < 60
    assert line == {
        "level": "warning", "event": "video", "run": "run 7", "stage": None, "pid": os.getpid(),
        "video": "Bär 熊\nü", "seconds": 1.5, "path": "a/b",
    }  # fmt: skip


def test_a_body_is_logged_and_its_children_share_run_and_stage():
    with logged("shard", params="abc"):
        event("inside")
        child = python("from amd.runtime.logs import event; event('child')")
        assert child.wait() == 0
    assert "AMD_RUN_ID" not in os.environ
    assert "AMD_STAGE" not in os.environ
    start, inside, ours, end = lines()
    assert [line["event"] for line in (start, inside, ours, end)] == ["start", "inside", "child", "end"]
    assert start["params"] == "abc"
    assert {line["stage"] for line in lines()} == {"shard"}
    assert {line["run"] for line in lines()} == {run_id()}
    assert ours["pid"] == child.pid
    assert end["seconds"] >= 0


def test_a_process_by_hand_has_an_id_of_its_own():
    program = "from amd.runtime.logs import run_id; print(run_id()); print(run_id())"
    one, two = (python(program).communicate()[0].split() for _ in range(2))
    assert one[0] == one[1] != two[0]
    assert python(program, AMD_RUN_ID="given").communicate()[0].split() == ["given", "given"]


def test_all_that_a_dvc_process_runs_has_its_id(tmp_path: Path):
    """A stand-in for dvc: what counts is the name of a program above."""
    dvc = tmp_path / "dvc"
    program = "from amd.runtime.logs import run_id; print(run_id())"
    dvc.write_text(f"import subprocess, sys\nfor _ in '12': subprocess.run([sys.executable, '-c', {program!r}])\n")
    path = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run([sys.executable, dvc], env=path, capture_output=True, text=True, check=True)
    first, second = result.stdout.split()
    assert first == second
    assert first.startswith("dvc-")


def test_a_failure_ends_with_the_log_and_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    @exit_on_user_error
    def main() -> None:
        with logged("shard"):
            raise UserError("clip.mp4: is empty")

    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: clip.mp4: is empty"
    assert hint == f"log: .amd/logs/events.jsonl (run {run_id()}); continue with: dvc repro"
    failed = lines()[-1]
    assert (failed["event"], failed["level"], failed["kind"]) == ("failed", "error", "UserError")
    assert failed["reason"] == "clip.mp4: is empty"


def test_the_last_words_name_the_command_that_goes_on():
    with pytest.raises(UserError) as error, logged("pipeline", "given", again="python -m flows.pipeline"):
        raise UserError("no")
    hint = "log: .amd/logs/events.jsonl (run given); continue with: python -m flows.pipeline"
    assert error.value.__notes__ == [hint]


def test_an_interruption_is_no_failure(capsys: pytest.CaptureFixture[str]):
    for ending in (KeyboardInterrupt("saved"), SystemExit(130)):
        with pytest.raises(type(ending)), logged("pretrain"):
            raise ending
        assert (lines()[-1]["event"], lines()[-1]["level"]) == ("interrupted", "warning")
        assert not getattr(ending, "__notes__", [])


@pytest.mark.parametrize(
    ("raised", "status", "last"),
    [("ValueError('odd')", 1, "ValueError: odd"), ("SystemExit(3)", 3, "the program's own")],
)
def test_crashes_and_failed_programs_of_a_stage_end_so_too(raised: str, status: int, last: str):
    program = f"""
import sys
from amd.runtime.errors import exit_on_user_error
from amd.runtime.logs import logged
@exit_on_user_error
def main():
    with logged("pretrain"):
        print("the program's own", file=sys.stderr)
        raise {raised}
main()
"""
    process = python(program)
    errors = process.communicate()[1].splitlines()
    assert process.returncode == status
    assert errors[-1].startswith("log: .amd/logs/events.jsonl")
    assert errors[-2] == last


def test_many_processes_write_whole_lines_and_the_log_is_bounded(monkeypatch: pytest.MonkeyPatch):
    writers = [python(WRITER, str(number), AMD_RUN_ID="r") for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = [(line["writer"], line["number"]) for line in lines()]
    assert sorted(found) == sorted((str(writer), number) for writer in range(3) for number in range(200))
    size = Path(".amd/logs/events.jsonl").stat().st_size
    monkeypatch.setattr(logs, "MAX_BYTES", size // 10)
    monkeypatch.setenv("AMD_RUN_ID", "r")
    for number in range(400):
        event("n", writer="late", number=number)
    names = sorted(path.name for path in Path(".amd/logs").glob("*.jsonl"))
    assert names == ["events.1.jsonl", "events.2.jsonl", "events.3.jsonl", "events.4.jsonl", "events.jsonl"]
    kept = [line["number"] for name in reversed(names[:4]) for line in lines(name)] + [
        line["number"] for line in lines()
    ]
    assert kept[-1] == 399
    assert kept == list(range(400))[-len(kept) :]  # in order, without a gap
    assert all(Path(".amd/logs", name).stat().st_size <= size // 10 for name in names)


def test_a_log_that_cannot_be_written_stops_nothing():
    Path(".amd").mkdir()
    Path(".amd/logs").write_text("a file where the folder should be")
    reached = False
    with logged("shard"):
        event("inside")
        reached = True
    assert reached
    assert Path(".amd/logs").read_text() == "a file where the folder should be"


def test_a_stage_links_its_run_to_mlflow_params_and_dvc(store: Path, monkeypatch: pytest.MonkeyPatch):
    from amd.config import params_hash
    from amd.runtime.tracking import connect

    (store / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    Path("dvc.lock").write_text("stages: {}\n")
    seen = []
    monkeypatch.setenv("AMD_RUN_ID", "linked")
    run_stage("report", lambda params, run: seen.append((params, run.id)))
    ((params, run),) = seen
    start, tracked, _ = [line for line in lines() if line["run"] == "linked"]
    assert start["params"] == params_hash(params)
    assert start["dvc_lock"] == hashlib.sha256(b"stages: {}\n").hexdigest()
    assert tracked["mlflow_run"] == run
    client = connect()
    parent = client.get_run(run).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).data.tags["amd.pipeline"] == "linked"
