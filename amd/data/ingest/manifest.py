"""Ingest: every input accepted or rejected with a reason, once.

Input: a path that names sources (amd.data.video.sources). Output: a row of amd.data.tables.MANIFEST per source. What
cannot be opened is rejected, then what repeats the content of an earlier source, then by amd.data.ingest.examine's
rules.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

from amd.config import Ingest, Shard
from amd.data.ingest.examine import Limits, examine, rejected
from amd.data.pool import Crash, Each, each_in_pool
from amd.data.tables import HELD_OUT, MANIFEST, read_table, write_table
from amd.data.video.decode import Source
from amd.data.video.sources import find_inputs, is_plain_frame
from amd.runtime.errors import UserError
from amd.runtime.files import READ_SIZE, sha256
from amd.runtime.progress import progress

VIDEO_ID = re.compile("[A-Za-z0-9_-]+")
SAVE_EVERY = 30.0  # seconds of work that an interruption may cost


def ingest(
    path: Path,
    ingest: Ingest,
    shard: Shard,
    previous: Path | None = None,
    report: Callable[[str], None] | None = None,
    each: Each = each_in_pool,
) -> list[dict]:
    """Examine every source that `path` names, `ingest.workers` at once; rows in the order of the sources.

    `previous` is the manifest of an earlier run of the same Limits.key, or does not exist yet. Rows are taken from it
    where path, size and SHA-256 are unchanged, and it is brought up to date during the work, so that an interrupted
    run goes on. `report` is told what is left out (amd.data.video.sources.find_inputs). `each` hands the work out; the
    rows are the same whatever it is. UserError when `path` names no source.
    """
    sources = {source.video_id: source for source in find_inputs(path, report)}
    rows = _fingerprints(sources.values(), ingest.workers)
    originals = _originals(rows)
    memory = _Memory(previous)
    jobs = []
    for video_id in originals.values():
        if not memory.recall(rows[video_id]):
            jobs.append((sources[video_id], Limits.of(ingest, shard)))
    try:
        with closing(each(examine_job, jobs, ingest.workers)) as outcomes:
            for (source, _), outcome in progress(outcomes, "ingest", total=len(jobs), unit="videos"):
                row = rows[source.video_id]
                row |= rejected(_failure(outcome)) if isinstance(outcome, Exception) else outcome
                if not isinstance(outcome, Exception):
                    memory.keep(row)
    finally:
        memory.save()
    for row in rows.values():
        _mark_copy(row, rows[originals.get(row["sha256"], row["video_id"])])
    return list(rows.values())


def read_manifest(path: Path) -> list[dict]:
    """The rows of a manifest, each whole; UserError names the first that ingest cannot have written."""
    rows = read_table(path, MANIFEST)
    seen: set[str] = set()
    for number, row in enumerate(rows):
        if problem := _row_problem(row, seen):
            raise UserError(f"{path}: row {number}: {problem}; run the stage ingest again")
        seen.add(row["video_id"])
    return rows


def source_of(row: dict) -> Source:
    """What a row of a manifest was made of, to be decoded as it was examined."""
    names = row["frame_names"]
    return Source(
        row["video_id"],
        Path(row["path"]),
        frame_names=None if names is None else tuple(names),
        decoder="pyav" if row["decoder"] == "pyav" else None,
    )


def _row_problem(row: dict, seen: set[str]) -> str:
    """What is wrong with a row of a manifest; empty when nothing is."""
    if not VIDEO_ID.fullmatch(row["video_id"] or ""):
        return f"{row['video_id']!r:.80} is not a video_id"
    if row["video_id"] in seen:
        return f"{row['video_id']} is there twice"
    if not row["path"] or "\0" in row["path"]:
        return f"{row['path']!r:.80} is not a path"
    if row["status"] not in ("accepted", HELD_OUT, "rejected") or row["reason"] is None:
        return f"its status is {row['status']!r:.80}, its reason {row['reason']!r:.80}"
    if row["status"] != "rejected":
        return _accepted_problem(row)
    return ""


def _accepted_problem(row: dict) -> str:
    if not row["sha256"] or (row["bytes"] or 0) < 1 or (row["frames"] or 0) < 2:
        return "accepted without a hash, a size or two frames"
    if row["decoder"] not in ("decord", "pyav", "images"):
        return f"its decoder is {row['decoder']!r:.80}"
    names = row["frame_names"]
    if names is not None and not all(name and is_plain_frame(name) for name in names):
        return "a frame's name is not that of a file in its folder"
    return ""


def examine_job(job: tuple[Source, Limits]) -> dict:
    """What `each` does: `examine` of one source."""
    return examine(*job)


def _fingerprints(sources: Iterable[Source], workers: int) -> dict[str, dict]:
    """A row per source, by video_id: with size and SHA-256, or already rejected."""
    sources = list(sources)
    with ThreadPoolExecutor(workers) as threads:  # hashing waits for the disk and frees the interpreter
        prints = threads.map(_fingerprint, sources)
        found = list(progress(prints, "hash", total=len(sources), unit="videos"))
    return {source.video_id: _blank_row(source) | columns for source, columns in zip(sources, found, strict=True)}


def _fingerprint(source: Source) -> dict:
    """The columns `bytes` and `sha256`, or a rejection of what cannot be read at all."""
    if source.problem:
        return rejected(source.problem)
    try:
        if source.frame_names is not None:
            return _folder_fingerprint(source)
        size = source.path.stat().st_size
        return {"bytes": size, "sha256": sha256(source.path)} if size else rejected("an empty file")
    except OSError as error:
        name = "" if error.filename in (None, str(source.path)) else f"{Path(error.filename).name}: "
        return rejected(f"{name}not readable ({error.strerror})")


def _folder_fingerprint(source: Source) -> dict:
    """Of a frame folder: the total size, and a hash of the names, sizes and contents in order."""
    digest, total = hashlib.sha256(), 0
    for name in cast(tuple[str, ...], source.frame_names):
        image = source.path / name
        if not image.is_file():  # opening a pipe would wait for ever
            return rejected(f"{name}: no such image file")
        size = image.stat().st_size
        digest.update(f"{name}\n{size}\n".encode())
        with image.open("rb") as file:
            while piece := file.read(READ_SIZE):
                digest.update(piece)
        total += size
    return {"bytes": total, "sha256": digest.hexdigest()}


def _blank_row(source: Source) -> dict:
    """A row that knows the source's name alone."""
    row = dict.fromkeys(MANIFEST.names)
    row |= {
        "video_id": source.video_id,
        "path": str(source.path).encode(errors="backslashreplace").decode(),
        "kind": "video" if source.frame_names is None else "frames",
        "frame_names": None if source.problem or source.frame_names is None else list(source.frame_names),
    }
    return row


def _originals(rows: dict[str, dict]) -> dict[str, str]:
    """The first video_id of each content."""
    originals: dict[str, str] = {}
    for video_id, row in rows.items():
        if row["sha256"]:
            originals.setdefault(row["sha256"], video_id)
    return originals


def _mark_copy(row: dict, original: dict) -> None:
    """Reject a row whose content an earlier one has, with the facts of that one."""
    if row is not original:
        own = {name: row[name] for name in ("video_id", "path", "kind", "frame_names")}
        row |= original | own | rejected(f"duplicate of {original['video_id']}")


def _failure(error: Exception) -> str:
    """Why nothing is known about a video; such a row is not remembered, the next run tries again."""
    if isinstance(error, Crash):
        return f"{error}; convert it to H.264 or remove it"
    return " ".join(f"unexpected {type(error).__name__}: {error}".split())


class _Memory:
    """Rows of an earlier run, and of this one so far, in a file that the next run reads."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: dict[tuple, dict] = {}
        self.old: dict[tuple, dict] = {}
        self.saved = time.monotonic()
        if path is not None and path.exists():
            with suppress(UserError):  # of another version: as good as absent
                self.old = {_identity(row): row for row in read_table(path, MANIFEST)}

    def recall(self, row: dict) -> bool:
        """Fill `row` from the earlier run; False when its source was not there or has changed."""
        known = self.old.get(_identity(row))
        if known is None:
            return False
        row |= known | {"video_id": row["video_id"]}
        self.keep(row)
        return True

    def keep(self, row: dict) -> None:
        """Remember a row; the file is rewritten now and then."""
        self.rows[_identity(row)] = dict(row)
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write what is known of the sources of this run."""
        if self.path is not None:
            write_table(self.path, MANIFEST, self.rows.values())
            self.saved = time.monotonic()


def _identity(row: dict) -> tuple:
    return row["path"], row["bytes"], row["sha256"]
