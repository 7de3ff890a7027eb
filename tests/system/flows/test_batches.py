"""Ingest and shard by Dask's workers and by those of a Prefect pool, one killed in mid-batch: the same bytes."""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from adapt_project import copy_project
from moving_scenes import clip, content, scene
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL
from projects import change_params, write_params
from waiting import wait_for

from amd.config import Shard, load_params
from amd.data.ingest.manifest import ingest, read_manifest
from amd.data.pairs.write import ShardJob, shard_video, write_shards
from amd.data.pool import Each, each_in_pool
from amd.data.tables import MANIFEST, read_table, write_table
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError
from flows.batches import FOLDER, LOGS, each_in_batches
from flows.runners import DEPLOYMENT, run_in_pool
from stages.fan_out import fan_out

pytestmark = pytest.mark.usefixtures("prefect_server")
DEADLY = "deadly"  # a video whose processes are killed
TABLE, SHARDS = Path("data/manifest.parquet"), Path("data/shards")
IN_BATCHES = partial(each_in_batches, "processes")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose three videos were ingested and sharded, with evidence, by processes of this machine."""
    project = tmp_path_factory.mktemp("original")
    videos = project / "videos"
    videos.mkdir()
    for number, name in enumerate(("a", "b")):
        clip(videos, name, scene(number, 3 + number, 5 + number))
    clip(videos, DEADLY, scene(7, 0, 600))
    objective = {"view_synthesis": 1.0, "evidence": 1.0}
    changes = {"ingest": {"workers": 2}, "shard": {"workers": 2, "short_edge": 64}}
    write_params(project / "params.yaml", changes, {"pretrain": {"objective": objective}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        prepare(fan_out("processes"))
    return project


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same before anything was done."""
    folder = copy_project(original, tmp_path / "project", monkeypatch)
    shutil.rmtree(folder / "data")
    return folder


def prepare(each: Each) -> None:
    """What the stages ingest and shard do in the current folder."""
    ingest_videos(each)
    shard_videos(each)


def ingest_videos(each: Each) -> None:
    params = load_params(Path("params.yaml"))
    with deadly(psutil.Process()):
        write_table(TABLE, MANIFEST, ingest(Path("videos"), params.ingest, params.shard, each=each))


def shard_videos(each: Each) -> None:
    write_shards(accepted(), SHARDS, load_params(Path("params.yaml")).shard, MotionSource(), each)


def accepted() -> list[dict]:
    return [row for row in read_manifest(TABLE) if row["status"] == "accepted"]


def names(rows: list[dict]) -> list[str]:
    return [Path(row["path"]).stem for row in rows]


@contextmanager
def deadly(root: psutil.Process) -> Iterator[None]:
    """Kill every process below `root` that opens the deadly video."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            with suppress(psutil.Error):
                for process in root.children(recursive=True):
                    with suppress(psutil.Error):
                        if any(Path(file.path).stem == DEADLY for file in process.open_files()):
                            process.kill()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def batches(below: psutil.Process) -> list[psutil.Process]:
    """The programs of batches below a process."""
    found = []
    for process in below.children(recursive=True):
        with suppress(psutil.Error, ProcessLookupError):
            if "flows.programs.video_batch" in process.cmdline() and os.getpgid(process.pid) == process.pid:
                found.append(process)
    return found


def require_the_same(original: Path) -> None:
    assert TABLE.read_bytes() == (original / TABLE).read_bytes()
    assert content(SHARDS) == content(original / SHARDS)
    assert names(accepted()) == ["a", "b"]
    (lost,) = (row for row in read_manifest(TABLE) if row["status"] == "rejected")
    assert (names([lost]), lost["reason"][:16]) == ([DEADLY], "its process died")
    assert not list(FOLDER.iterdir())
    assert not [log for name in ("ingest", "shard") for log in (LOGS / name).iterdir()]


def test_stages_by_a_cluster_with_a_worker_killed_in_each(original: Path, project: Path) -> None:
    """Every video a batch. The stages are run as DVC does, and are told of the cluster as the documentation says."""
    distributed = pytest.importorskip("distributed", reason="the extra `scale` is not installed")
    change_params(Path("params.yaml"), ingest={"runner": "dask"}, shard={"runner": "dask"})
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, **options) as cluster, deadly(psutil.Process()):
        places = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "DASK_SCHEDULER_ADDRESS": cluster.scheduler_address}
        for name in ("ingest", "shard"):
            words = [sys.executable, "-m", f"stages.{name}"]
            stage = subprocess.Popen(words, env=os.environ | places, stderr=subprocess.PIPE, text=True)
            wait_for(lambda: len(batches(psutil.Process())) == 2, 120)
            workers = [program.parent() for program in batches(psutil.Process())]
            assert len({worker.pid for worker in workers} - {stage.pid}) == 2
            workers[0].kill()
            message = stage.communicate(timeout=240)[1]
            assert stage.returncode == 0, message
    require_the_same(original)


@contextmanager
def pool_of(project: Path, workers: int) -> Iterator[list[psutil.Process]]:
    """Workers of the pool `amd` that take one run at a time, with the deployment as prefect.yaml declares it."""
    flow, name = DEPLOYMENT.split("/")
    entrypoint = f"{run_in_pool.__module__}.run_in_pool"
    steps = [{"prefect.deployments.steps.set_working_directory": {"directory": str(project)}}]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="amd", type="process"))
        where = {"work_pool_name": "amd", "entrypoint": entrypoint, "path": ".", "pull_steps": steps}
        client.create_deployment(client.create_flow_from_name(flow), name, **where)
    words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "amd", "--type", "process", "--limit", "1"]
    places = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with ExitStack() as ends:
        started = []
        for _ in range(workers):
            process = subprocess.Popen(words, env=os.environ | places, stdout=subprocess.DEVNULL)
            ends.callback(process.wait)
            ends.callback(process.terminate)
            started.append(psutil.Process(process.pid))
        yield started


def test_pool_with_a_worker_killed(original: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All videos in one batch; then a machine that is gone: worker, run and program, and nobody tells the server."""
    monkeypatch.setattr("flows.batches.LOST_S", 20.0)
    monkeypatch.setattr("flows.batch_work.ROUNDS", 1)
    change_params(Path("params.yaml"), ingest={"workers": 1}, shard={"workers": 1})

    def kill_one(workers: list[psutil.Process]) -> psutil.Process:
        wait_for(lambda: any(batches(worker) for worker in workers), 120)
        worker = next(worker for worker in workers if batches(worker))
        for process in (worker, *worker.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return worker

    with pool_of(project, 2) as workers, ThreadPoolExecutor(1) as thread:
        ingest_videos(fan_out("pool"))
        killed = thread.submit(kill_one, workers)
        shard_videos(fan_out("pool"))
        living = [worker for worker in workers if worker.status() != psutil.STATUS_ZOMBIE]
        assert {*workers} - {*living} == {killed.result()}  # the other one did its batch
    require_the_same(original)


def complaints(folder: Path, shard: Shard, rows: list[dict], before: Callable[[], object]) -> str:
    """How sharding into a new folder ends, by processes and in batches alike."""
    said = []
    for each in (each_in_pool, IN_BATCHES):
        shutil.rmtree(folder, ignore_errors=True)
        before()
        with pytest.raises((UserError, OSError)) as error:
            write_shards(rows, folder, shard, None, each)
        said.append((error.type.__name__, str(error.value), getattr(error.value, "filename", None)))
    assert said[0] == said[1]
    return f"{said[1][0]}: {said[1][1]}"


def kill_a_program() -> None:
    wait_for(lambda: bool(batches(psutil.Process())), 60)
    batches(psutil.Process())[0].kill()


def test_refusals_and_interruptions_are_those_of_processes(
    original: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(original / "data", "data")
    shard, rows, new = load_params(Path("params.yaml")).shard, accepted(), Path("new")
    assert write_shards(rows, SHARDS, shard, MotionSource(), IN_BATCHES) == 0
    assert not FOLDER.exists()  # done already: nothing is started

    with Path("videos/a.mp4").open("ab") as file:
        file.write(b"changed")
    line = complaints(new, shard, rows, lambda: None)
    assert line.startswith("UserError: videos/a.mp4: not as ingested any more (1 of 2 videos)")

    times = {path: path.stat().st_mtime_ns for path in new.glob("*.tar")}
    with closing(IN_BATCHES(shard_video, [ShardJob(row, new, shard) for row in rows], 1)) as outcomes:
        assert next(outcomes)[1].video_id == rows[0]["video_id"]
        assert len(list(FOLDER.iterdir())) == 1
    assert times == {path: path.stat().st_mtime_ns for path in new.glob("*.tar")}  # another try does no video again
    assert not list(FOLDER.iterdir())
    assert not batches(psutil.Process())

    Path(f"videos/{DEADLY}.mp4").unlink()
    monkeypatch.setattr("flows.batches.RETRIES", 0)
    params, memory = load_params(Path("params.yaml")), Path("memory.parquet")
    bring = lambda: ingest(Path("videos"), params.ingest, params.shard, memory, each=IN_BATCHES)
    with ThreadPoolExecutor(1) as thread:
        killed = thread.submit(kill_a_program)
        with pytest.raises(UserError, match=r"^ingest: 1 of 2 batches failed, the others are kept: ended by SIGKILL"):
            bring()
        killed.result()
    assert [len(log.read_text().splitlines()) for log in (LOGS / "ingest").iterdir()] == [1]
    (kept,) = read_table(memory, MANIFEST)
    assert kept["status"] == "accepted"
    assert [row["status"] for row in bring()] == ["accepted"] * 2

    def block() -> None:
        new.mkdir()
        (new / "videos").touch()  # where receipts would go

    assert complaints(new, shard, rows[1:2], block).startswith("NotADirectoryError: ")
