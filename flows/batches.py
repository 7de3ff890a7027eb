"""Videos to ingest and to shard in batches, by the runners of adaptation (flows.runners): `each_in_batches`.

Input: items of a work of flows.batch_work. Output: each with its result, as from amd.data.pool's each_in_pool. A batch
is done by one program (flows.programs.video_batch), which takes its items from a file and writes its results into
another; both are gone once they are read. The log of a batch is kept where it failed.
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from amd.config.pipeline import Runner
from amd.runtime.errors import UserError
from flows.batch_work import WORKS, Work, read_results, split, write_items
from flows.runners import Job, run_jobs
from flows.server import prefect_server

FOLDER = Path(".amd/batches")
LOGS = Path(".amd/logs")
RETRIES = 2  # of a batch whose program or worker is lost
LOST_S = 120.0  # without a sign of life; file systems between machines tell of changes within 60 s


def each_in_batches(
    runner: Runner, work: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> Generator[tuple[Any, Any], None, None]:
    """As each_in_pool, with at most `workers` batches of items at once, where `runner` says; `work` is one of WORKS.

    One call for a work at a time (stages hold a lock). Without items nothing is started. Raises UserError where the
    runner or its servers are not there, and, when all others were yielded, for batches whose program did not end well
    however often it was tried: nothing is known of their videos.
    """
    name, kind = next((name, kind) for name, kind in WORKS.items() if kind.do is work)
    batches = list(split(list(items), workers, kind))
    if not batches:
        return
    failed = []
    with prefect_server(), _folder(name) as folder:
        jobs = (_job(name, kind, number, batch, folder) for number, batch in enumerate(batches))
        with closing(run_jobs(jobs, runner, workers, RETRIES, ahead=workers)) as ended:
            for job, state in ended:
                results = Path(job.arguments["results"])
                if state.is_completed() and results.is_file():
                    yield from zip(batches[job.index], read_results(results, kind), strict=True)
                    job.log.unlink(missing_ok=True)
                else:
                    failed.append(f"{state.message} (log: {job.log})")
                for path in (results, Path(job.arguments["items"])):
                    path.unlink(missing_ok=True)
    if failed:
        raise UserError(f"{name}: {len(failed)} of {len(batches)} batches failed, the others are kept: {failed[0]}")


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A new folder for files of batches; what a killed run left is removed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for left in FOLDER.glob(f"{name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"{name}-", dir=FOLDER, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _job(name: str, work: Work, number: int, batch: list, folder: Path) -> Job:
    """The job of a batch, whose items are written here."""
    items, results = folder / f"{number:05d}.json", folder / f"{number:05d}.results.json"
    write_items(items, work, batch)
    return Job(
        name=f"{name}-{number:05d}",
        program="video_batch",
        arguments={"work": name, "items": str(items), "results": str(results)},
        threads=1,
        index=number,
        project=Path.cwd(),
        log=LOGS / name / f"{number:05d}.log",
        done=(Path.cwd() / results).is_file,
        pulse=items,
        patience_s=LOST_S,
    )
