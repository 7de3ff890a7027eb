"""The fan-out over videos and the pipeline's flow, with a real Prefect server and real programs."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from ruamel.yaml import YAML

from amd.checkpoint import ModelInfo, save_checkpoint
from amd.data.benchmarks import open_benchmark
from amd.data.synthetic import make_corpus
from amd.errors import UserError
from amd.model.amd import AMD, Architecture
from amd.params import load_params
from flows.adapt import adapt_videos, devices, share
from flows.pipeline import pipeline, stage_order
from flows.processes import Programs, process_group
from stages.receipts import code_hash, origin, read_receipt, write_receipt

# isort: split
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.testing.utilities import prefect_test_harness

REPOSITORY = Path(__file__).resolve().parent.parent
CLIPS = ("clip-0000", "clip-0001", "clip-0002")
DVC = (sys.executable, "-m", "dvc")
ADAPT = {"iterations": 0, "pairs": 1, "workers": 2, "threads": 1, "retries": 1, "timeout_s": 120.0}


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    """One server for this file."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three held-out clips of four frames and a small untrained checkpoint."""
    project = tmp_path_factory.mktemp("original")
    yaml = YAML()
    tree = yaml.load(REPOSITORY / "params.yaml")
    tree["corpus"].update(train_clips=1, heldout_clips=3, frames=4, width=64, height=48, workers=1)
    tree["adapt"].update(ADAPT)
    yaml.dump(tree, project / "params.yaml")
    make_corpus(project / "data/corpus", load_params(project / "params.yaml").corpus)
    torch.manual_seed(0)
    architecture = Architecture("small", 3, 4, 0.1, "small", 64, 64)
    info = ModelInfo(architecture, object_segment=1, short_edge=48)
    save_checkpoint(project / "models/amd.safetensors", AMD(architecture), info)
    return project


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project as the current folder; programs find this repository's code."""
    folder = tmp_path / "project"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("AMD_MLFLOW_RUN", raising=False)
    return folder


def change(section: str, **values: object) -> None:
    """Change params.yaml of the current folder."""
    yaml = YAML()
    tree = yaml.load(Path("params.yaml"))
    tree[section].update(values)
    yaml.dump(tree, Path("params.yaml"))


def list_clips(*names: str) -> None:
    """Say which sequences the benchmark has."""
    Path("data/corpus/heldout/ImageSets/sequences.txt").write_text("".join(f"{name}\n" for name in names))


def attempts(name: str) -> int:
    """How often a video's program was started in the last run."""
    return Path(f".amd/logs/adapt/{name}.log").read_text().count("--- attempt")


def receipts() -> dict[str, int]:
    """When each receipt was written."""
    return {path.stem: path.stat().st_mtime_ns for path in Path("predictions/adapted/done/davis2016").iterdir()}


def written(name: str) -> set[str]:
    """Masks and segments of a video."""
    return {str(path) for path in Path("predictions/adapted").glob(f"*/davis2016/{name}/*.png")}


def wanted(name: str) -> set[str]:
    """What `written` gives of a finished video."""
    folders = [f"predictions/adapted/{kind}/davis2016/{name}" for kind in ("masks", "segments")]
    return {f"{folder}/{frame:05d}.png" for folder in folders for frame in range(4)}


def programs_of(project: Path) -> int:
    """How many programs of single videos run in `project`."""
    return sum(runs_a_video(process, project) for process in psutil.process_iter())


def runs_a_video(process: psutil.Process, project: Path) -> bool:
    try:  # a leader of its group: for a moment, what a program starts looks like the program
        video = "stages.adapt_video" in process.cmdline() and os.getpgid(process.pid) == process.pid
        return video and process.cwd() == str(project)
    except (psutil.Error, ProcessLookupError, PermissionError):
        return False


@contextmanager
def most_programs(project: Path) -> Iterator[list[int]]:
    """Watch a flow; the list holds how many programs of videos were seen to run at the same time."""
    seen, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            seen.append(programs_of(project))

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def server() -> dict[str, str]:
    """The environment of a program that is to use this file's Prefect server."""
    with get_client(sync_client=True) as client:
        return {**os.environ, "PREFECT_API_URL": str(client.api_url)}


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


def test_receipt_counts_while_nothing_it_stands_for_changed(project: Path) -> None:
    settings = load_params().adapt
    sequence = open_benchmark("davis2016", "data/corpus/heldout")[0]
    out, made_from = Path("predictions/adapted"), origin("checkpoint", sequence, settings)
    for path in map(Path, wanted("clip-0000")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert read_receipt(out, sequence, made_from) is None
    write_receipt(out, sequence, made_from, {"seconds": 1.5})
    assert read_receipt(out, sequence, made_from)["seconds"] == 1.5
    how = settings.model_copy(update={"workers": 7, "threads": 3, "timeout_s": 9.0, "retries": 5})
    assert origin("checkpoint", sequence, how) == made_from
    what = settings.model_copy(update={"seed": 1})
    assert read_receipt(out, sequence, origin("checkpoint", sequence, what)) is None
    assert read_receipt(out, sequence, origin("another", sequence, settings)) is None

    (lost,) = out.glob("segments/*/clip-0000/00003.png")
    lost.unlink()
    assert read_receipt(out, sequence, made_from) is None
    lost.touch()
    assert read_receipt(out, sequence, made_from)
    shutil.copy(sequence.frames[0].image, sequence.frames[1].image)
    assert read_receipt(out, sequence, origin("checkpoint", sequence, settings)) is None
    Path("predictions/adapted/done/davis2016/clip-0000.json").write_text("{")
    assert read_receipt(out, sequence, made_from) is None


def test_receipts_stand_for_code_that_adapts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = code_hash()
    copied = tmp_path / "amd"
    shutil.copytree(REPOSITORY / "amd", copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("amd.__file__", str(copied / "__init__.py"))
    assert code_hash() == before
    for name in ("adaptation.py", "model/warp.py"):
        with (copied / name).open("a") as file:
            file.write("# changed\n")
        assert code_hash() != before
        before = code_hash()


def test_timeout_is_tried_again_and_then_reported(project: Path) -> None:
    change("adapt", timeout_s=0.3, retries=2)
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
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    words = [sys.executable, "-m", "flows.adapt"]
    stage = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: len(runs("RUNNING")) == 4, 180)
        os.killpg(stage.pid, signal.SIGINT)  # Ctrl-C goes to the whole group
        message = stage.communicate(timeout=120)[1]
    finally:
        stage.kill()
    assert stage.returncode == 130
    assert message.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in message
    assert programs_of(project) == 0
    assert not Path("predictions/adapted/done").exists()
    adapt, first, second, parent = runs("FAILED")
    assert [run[0] for run in (adapt, first, second, parent)] == ["adapt", "clip-0000", "clip-0001", "pipeline"]
    assert adapt[2] == parent[1]
    assert first[2] == second[2] == adapt[1]
    assert (project / ".amd/prefect").is_dir()


def runs(status: str) -> list[tuple[str, str, str]]:
    """Name, number and parent of the MLflow runs of the current folder that are in a state."""
    query = """SELECT runs.name, runs.run_uuid, coalesce(tags.value, '') FROM runs LEFT JOIN tags
        ON tags.run_uuid = runs.run_uuid AND tags.key = 'mlflow.parentRunId' WHERE runs.status = ? ORDER BY runs.name"""
    try:  # not through MLflow: this must not set the store up
        with closing(sqlite3.connect("file:mlflow.db?mode=ro", uri=True)) as store:
            return store.execute(query, [status]).fetchall()
    except sqlite3.OperationalError:
        return []


def test_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [share(index, 3, ["2", "5"])["CUDA_VISIBLE_DEVICES"] for index in range(5)] == ["2", "5", "2", "5", "2"]
    assert share(0, 3, ["2"])["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in share(0, 1, [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7a")
    assert devices() == ["4", "GPU-7a"]


STUBBORN = "trap '' TERM; sleep 300 & echo $! > child; touch ready; wait"


def ended(path: Path) -> bool:
    """Whether the process whose number is in a file is gone."""
    number = int(path.read_text())
    return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    with Programs(grace_s=0.2) as programs, pytest.raises(subprocess.TimeoutExpired):
        programs.run(["bash", "-c", STUBBORN], 1.0, cwd=tmp_path)
    wait_for(lambda: ended(tmp_path / "child"), 5)


def test_programs_end_with_their_block_and_none_starts_after(tmp_path: Path) -> None:
    statuses: list[int] = []
    with Programs(grace_s=0.2) as programs:
        run = lambda: statuses.append(programs.run(["bash", "-c", STUBBORN], 60.0, cwd=tmp_path))
        thread = threading.Thread(target=run)
        thread.start()
        wait_for((tmp_path / "ready").exists, 10)
    thread.join()
    assert statuses == [-signal.SIGKILL]
    wait_for(lambda: ended(tmp_path / "child"), 5)
    with pytest.raises(RuntimeError, match="stopped"):
        programs.run(["true"], 60.0)


def test_group_gets_time_to_end_well(tmp_path: Path) -> None:
    """The leader dies at once, as `dvc` does; its child needs a moment, and gets it."""
    slow = "(trap 'sleep 0.5; echo saved > state; exit' TERM; touch ready; while :; do sleep 0.05; done) & exit"
    with process_group(["bash", "-c", slow], grace_s=10.0, cwd=tmp_path):
        wait_for((tmp_path / "ready").exists, 10)
    assert (tmp_path / "state").read_text() == "saved\n"


def test_group_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    starter = f"""
from flows.processes import Programs
with Programs(9.0) as programs:
    programs.run(["bash", "-c", "sleep 300 & echo $! > child; touch ready; wait"], 300.0, cwd={str(tmp_path)!r})
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", starter], env=environment)
    try:
        wait_for((tmp_path / "ready").exists, 30)
        assert not ended(tmp_path / "child")
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: ended(tmp_path / "child"), 5)


STAGES = """stages:
  last:
    cmd: cat first.txt other.txt > last.txt; echo $AMD_PIPELINE_RUN >> runs.log
    deps: [first.txt, other.txt]
    outs: [last.txt]
  first:
    cmd: echo {value} > first.txt; echo $AMD_PIPELINE_RUN >> runs.log; echo made first
    params: [value]
    outs: [first.txt]
  other:
    cmd: echo 2 > other.txt
    outs: [other.txt]
"""


@pytest.fixture
def dvc_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of three stages as the current folder."""
    folder = tmp_path / "dvc_project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for command in (["git", "init", "-q"], [*DVC, "init", "-q"]):
        subprocess.run(command, check=True)
    Path("dvc.yaml").write_text(STAGES.replace("{value}", "${value}"))
    Path("params.yaml").write_text("value: 1\n")
    return folder


def test_pipeline_leaves_the_lock_of_dvc_repro(dvc_project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = dvc_project.with_name("plain")
    shutil.copytree(dvc_project, plain)
    subprocess.run([*DVC, "repro", "-q"], cwd=plain, check=True)
    state = pipeline(return_state=True)
    order = state.result()
    assert sorted(order) == ["first", "last", "other"]
    assert order[-1] == "last"
    assert Path("dvc.lock").read_text() == (plain / "dvc.lock").read_text()
    assert "made first" in capfd.readouterr().out
    flow_run = state.state_details.flow_run_id
    assert Path("runs.log").read_text().split() == [str(flow_run)] * 2
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [flow_run]}))
    assert {task.name for task in tasks} == set(order)

    Path("params.yaml").write_text("value: 3\n")
    assert pipeline(["first"]) == stage_order(["first"]) == ["first"]
    assert Path("first.txt").read_text() == "3\n"
    assert Path("last.txt").read_text() == "1\n2\n"


def test_pipeline_tells_why_a_stage_failed(dvc_project: Path) -> None:
    Path("dvc.yaml").write_text(STAGES.replace("echo {value} > first.txt", "echo no such video >&2; exit 2"))
    with pytest.raises(UserError, match=r"^stage first failed; its last lines: .*no such video"):
        pipeline()
    assert not Path("last.txt").exists()


def test_pipeline_that_is_ended_ends_its_stage(dvc_project: Path) -> None:
    Path("dvc.yaml").write_text("stages:\n  long:\n    cmd: sleep 300 & echo $! > child; touch ready; wait\n")
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline"],
        env={**server(), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(Path("ready").exists, 60)
        flow.terminate()
        message = flow.communicate(timeout=120)[1]
    finally:
        flow.kill()
    assert (flow.returncode, message) == (130, "interrupted; the same command continues\n")
    wait_for(lambda: ended(Path("child")), 5)
