"""What is done with videos in batches, and how videos, results and errors travel between programs: as JSON in files.

An error comes back as it would from a process of amd.data.pool: UserError as UserError, all others with their name and
words, and an OSError with its file, by which it is told whether the output's disk or the video is to blame.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amd.config import Shard
from amd.data.ingest.examine import Limits
from amd.data.ingest.manifest import examine_job
from amd.data.pairs.write import Receipt, ShardJob, shard_video
from amd.data.pool import Crash
from amd.data.video.decode import Source
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, write_text

LARGEST = 16  # videos of a batch: what a lost worker costs, and how rarely is remembered what was done
ROUNDS = 4  # batches that each of the workers gets at least, where there are so many videos
KNOWN = {"UserError": UserError, "Crash": Crash}


@dataclass(frozen=True)
class Work:
    """A function of one video, and its items and results as plain data."""

    do: Callable[[Any], Any]
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    pack_result: Callable[[Any], Any]
    unpack_result: Callable[[Any], Any]
    size: Callable[[Any], int]  # of an item beside others


def split(items: list, workers: int, work: Work) -> Iterator[list]:
    """Batches of neighbours of about one size; an item that is larger than that is alone in its batch."""
    share = sum(map(work.size, items)) / (ROUNDS * workers)
    batch: list = []
    for item in items:
        if batch and (len(batch) == LARGEST or sum(map(work.size, batch)) + work.size(item) > share):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def write_items(path: Path, work: Work, items: list) -> None:
    """Write a batch of items."""
    write_text(path, json.dumps([work.pack(item) for item in items]))


def read_items(path: Path, work: Work) -> list:
    """What `write_items` wrote."""
    return [work.unpack(item) for item in read_json(path)]


def write_results(path: Path, work: Work, outcomes: list) -> None:
    """Write what every item of a batch gave: a result, or the exception it ended in."""
    write_text(path, json.dumps([_pack_outcome(work, outcome) for outcome in outcomes]))


def read_results(path: Path, work: Work) -> list:
    """What `write_results` wrote."""
    return [
        _unpack_error(each["error"]) if "error" in each else work.unpack_result(each["result"])
        for each in read_json(path)
    ]


def _pack_outcome(work: Work, outcome: Any) -> dict[str, Any]:
    if not isinstance(outcome, Exception):
        return {"result": work.pack_result(outcome)}
    error: dict[str, Any] = {"name": type(outcome).__name__, "text": str(outcome)}
    if isinstance(outcome, OSError):
        file = None if outcome.filename is None else str(outcome.filename)
        error["system"] = {"filename": file, "strerror": outcome.strerror}
    return {"error": error}


def _unpack_error(error: dict[str, Any]) -> Exception:
    if known := KNOWN.get(error["name"]):
        return known(error["text"])
    system = error.get("system")
    kind = type(error["name"], (Exception if system is None else OSError,), {"__str__": lambda self: error["text"]})
    found = kind()
    for name, value in (system or {}).items():
        setattr(found, name, value)
    return found


def _pack_source(item: tuple[Source, Limits]) -> dict[str, Any]:
    source, limits = item
    return {"source": asdict(source) | {"path": str(source.path)}, "limits": asdict(limits)}


def _unpack_source(item: dict[str, Any]) -> tuple[Source, Limits]:
    source = item["source"]
    names = source["frame_names"]
    changed = {"path": Path(source["path"]), "frame_names": None if names is None else tuple(names)}
    return Source(**{**source, **changed}), Limits(**item["limits"])


def _pack_job(job: ShardJob) -> dict[str, Any]:
    evidence = None if job.evidence is None else str(job.evidence.weights)
    return {"row": job.row, "folder": str(job.folder), "shard": job.shard.model_dump(), "evidence": evidence}


def _unpack_job(item: dict[str, Any]) -> ShardJob:
    evidence = None
    if item["evidence"] is not None:
        from amd.motion.source import MotionSource  # here: torch, which other work has no use for

        evidence = MotionSource(Path(item["evidence"]))
    return ShardJob(item["row"], Path(item["folder"]), Shard(**item["shard"]), evidence)


WORKS = {
    "ingest": Work(examine_job, _pack_source, _unpack_source, dict, dict, lambda item: 1),
    "shard": Work(
        shard_video, _pack_job, _unpack_job, Receipt.model_dump, Receipt.model_validate, lambda job: job.row["frames"]
    ),
}
