"""Frame pairs in WebDataset shards: accepted videos in, tar shards with their index and counts out.

Frames i and i + gap, after the conversion of rate and size, make a pair; pairs that are still or a cut are
dropped (amd.data.pairs.select). Every video has shards of its own, so adding one rewrites no other's, and a receipt,
written after them, so that a finished video is not done again. A video is decoded once, sequentially, in a
process that it may take down without harm to the others; memory does not grow with its length.

    <video_id>-00000.tar     samples <video_id>-<index of the first frame>: first.jpg, meta.json, second.jpg
    videos/<video_id>.json   the receipt
    index.parquet            a row per shard (amd.data.tables.INDEX)
    pairs.parquet            a row per video (amd.data.tables.PAIRS)
"""

import io
import json
import re
import sys
import tarfile
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import median

import numpy as np
import simplejpeg
from pydantic import BaseModel, ValidationError

from amd.config import Shard
from amd.data.pairs.select import PairFilter, pair_change, thumbnail
from amd.data.pool import each_in_pool
from amd.data.tables import INDEX, PAIRS, write_table
from amd.data.video.decode import DecodeError, Frame, Source, read_frames
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path, remove_half_written, sha256
from amd.runtime.progress import progress
from amd.runtime.receipts import fingerprint, standing, write_sealed

FORMAT = 3  # raise it when other bytes come out for the same input: older receipts then no longer count
OURS = re.compile(r"[A-Za-z0-9_-]+(-\d{5}\.tar|\.json)")  # names of shards and receipts

# Colour at full size: a frame that was shrunk has colour detail in every pixel, which 4:2:0 would halve.
SUBSAMPLING = "444"


class ShardRow(BaseModel):
    """A shard as the index lists it."""

    shard: str
    samples: int
    bytes: int
    sha256: str


class Receipt(BaseModel):
    """What one video gave; `fingerprint` stands for all that its shards depend on."""

    video_id: str
    video_sha256: str
    fingerprint: str
    shards: list[ShardRow] = []
    pairs: int = 0
    dropped_still: int = 0
    dropped_cut: int = 0
    median_change: float | None = None  # None: not one pair to judge
    reason: str = ""  # why the video, or the rest of it, gave nothing; empty if nothing to say


def write_shards(rows: list[dict], folder: Path, shard: Shard) -> int:
    """Make `folder` hold the shards of exactly `rows`, the accepted rows of the manifest.

    Returns how many pairs are new; the rest is from earlier runs. The same rows and parameters give the same
    bytes with any number of workers. Needs the folder for itself: it removes what videos that are gone or
    changed, or an interrupted run, left there. A video that fails keeps the pairs of its good frames, is
    named on stderr and stops no other. Raises UserError for a full disk, and when no video gave a pair.
    """
    jobs = {row["video_id"]: _Job(row, folder, shard) for row in rows}
    for table in ("index.parquet", "pairs.parquet"):  # no half-done folder passes for a whole one
        (folder / table).unlink(missing_ok=True)
    receipts = {video_id: found for video_id, job in jobs.items() if (found := job.standing_receipt())}
    _keep_only(folder, receipts.values())
    todo = [job for video_id, job in jobs.items() if video_id not in receipts]
    todo.sort(key=lambda job: -job.row["frames"])  # the longest first: no worker waits for one at the end
    try:
        with closing(each_in_pool(_shard_video, todo, shard.workers)) as outcomes:
            shown = progress(outcomes, "shard", total=len(todo), unit="videos")
            new = [_receipt(job, outcome) for job, outcome in shown]
    finally:
        remove_half_written(folder)  # of processes that were ended with the pool
    if lost := [job.row["path"] for job in todo if not job.is_as_ingested()]:
        raise UserError(
            f"{lost[0]}: not as ingested any more ({len(lost)} of {len(rows)} videos); the others are done: put it "
            "back, or run the stage ingest again"
        )
    receipts |= {receipt.video_id: receipt for receipt in new}
    _keep_only(folder, receipts.values())
    _write_tables(folder, [receipts[video_id] for video_id in sorted(receipts)])
    return sum(receipt.pairs for receipt in new)


def _receipt(job: "_Job", outcome: Receipt | Exception) -> Receipt:
    """The receipt of a video that may have failed: one bad video never stops the rest, a full or closed folder does."""
    place = Path(str(getattr(outcome, "filename", ""))).resolve()
    unwritable = isinstance(outcome, OSError) and place.is_relative_to(job.folder.resolve())
    if isinstance(outcome, UserError) or (unwritable and isinstance(outcome, OSError)):
        raise outcome
    if isinstance(outcome, Exception):
        return job.receipt(reason=" ".join(f"{type(outcome).__name__}: {outcome}".split()))
    return outcome


def _write_tables(folder: Path, receipts: list[Receipt]) -> None:
    """The index and the counts, and on stderr what was set aside."""
    for receipt in receipts:
        if receipt.reason:
            print(f"shard: {receipt.video_id}: {receipt.pairs} pairs kept: {receipt.reason}", file=sys.stderr)
    shards = [row.model_dump() | {"video_ids": [r.video_id]} for r in receipts for row in r.shards]
    if not shards:
        raise UserError(
            f"{folder}: none of the {len(receipts)} videos gave a frame pair; see the messages above, the "
            "manifest, and shard.gap, shard.min_change and shard.max_change"
        )
    write_table(folder / "pairs.parquet", PAIRS, [receipt.model_dump() for receipt in receipts])
    write_table(folder / "index.parquet", INDEX, shards)


def _keep_only(folder: Path, receipts: Iterable[Receipt]) -> None:
    """Remove every shard and receipt that the receipts do not account for, and half-written files."""
    kept = {folder / row.shard for receipt in receipts for row in receipt.shards}
    kept |= {_receipt_path(folder, receipt.video_id) for receipt in receipts}
    for path in [*folder.glob("*.tar"), *folder.glob("videos/*.json")]:
        if path not in kept and OURS.fullmatch(path.name):
            path.unlink()
    for place in (folder, folder / "videos"):
        remove_half_written(place)


def _receipt_path(folder: Path, video_id: str) -> Path:
    return folder / "videos" / f"{video_id}.json"


@dataclass(frozen=True)
class _Job:
    """One video to shard."""

    row: dict
    folder: Path
    shard: Shard

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Za-z0-9_-]+", self.row["video_id"]):
            raise UserError(f"manifest: {self.row['video_id']!r} is not a video_id; run the stage ingest again")

    @property
    def source(self) -> Source:
        names = self.row["frame_names"]
        return Source(
            self.row["video_id"],
            Path(self.row["path"]),
            frame_names=None if names is None else tuple(names),
            decoder="pyav" if self.row["decoder"] == "pyav" else None,
        )

    def is_as_ingested(self) -> bool:
        """Whether the source is still there in the size that the manifest has."""
        source = self.source
        files = [source.path] if source.frame_names is None else [source.path / name for name in source.frame_names]
        try:
            return self.row["bytes"] in (None, sum(file.stat().st_size for file in files))
        except OSError:
            return False

    def receipt(self, **found) -> Receipt:
        """A receipt of this video with what was found."""
        content = {name: self.row[name] for name in ("video_id", "sha256", "frame_names", "frames", "decoder")}
        content |= {"format": FORMAT, "shard": self.shard.model_dump(exclude={"workers"})}
        return Receipt(
            video_id=self.row["video_id"],
            video_sha256=self.row["sha256"],
            fingerprint=fingerprint(content),
            **found,
        )

    def standing_receipt(self) -> Receipt | None:
        """The receipt of an earlier run, if this video, the parameters and the shards are still the same."""
        wanted = self.receipt()
        found = standing(_receipt_path(self.folder, wanted.video_id), "fingerprint", wanted.fingerprint)
        try:
            receipt = Receipt.model_validate(found)
            whole = all(sha256(self.folder / row.shard) == row.sha256 for row in receipt.shards)
        except (OSError, ValidationError):  # missing or damaged: do the video again
            return None
        return receipt if whole else None


def _shard_video(job: _Job) -> Receipt:
    """Write one video's shards and then its receipt, without which the next run does the video again.

    Raises UserError for a full disk; a video that does not decode to its end is no error.
    """
    video = _Video(job)
    receipt = job.receipt(
        shards=video.write(),
        pairs=video.judge.counts["keep"],
        dropped_still=video.judge.counts["still"],
        dropped_cut=video.judge.counts["cut"],
        median_change=median(video.changes) if video.changes else None,
        reason=video.reason,
    )
    if video.good_frames:
        write_sealed(_receipt_path(job.folder, receipt.video_id), receipt.model_dump())
    return receipt


@dataclass(frozen=True)
class _Encoded:
    """A frame as shards hold it, and what its pairs are judged by."""

    frame: int  # index in the source
    timestamp: float
    height: int
    width: int
    jpeg: bytes
    grey: np.ndarray


class _Video:
    """One pass over a video: its frames encoded once each, paired, judged and written."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.judge = PairFilter(job.shard.min_change, job.shard.max_change)
        self.changes = array("d")
        self.good_frames = 0
        self.reason = ""

    def write(self) -> list[ShardRow]:
        """Write the video's shards, each of at most `pairs_per_shard` samples."""
        shards: list[ShardRow] = []
        pairs = self._pairs()
        for pair in pairs:
            path = self.job.folder / f"{self.job.source.video_id}-{len(shards):05d}.tar"
            shards.append(self._write_tar(path, chain([pair], islice(pairs, self.job.shard.pairs_per_shard - 1))))
        return shards

    def _frames(self) -> Iterator[Frame]:
        """The frames that the manifest counted; a reason when there are fewer, or more that are broken."""
        shard, counted = self.job.shard, self.job.row["frames"]
        try:
            with closing(read_frames(self.job.source, shard.short_edge, shard.fps, counted)) as frames:
                yield from frames
        except DecodeError as error:
            self.reason = str(error)

    def _pairs(self) -> Iterator[tuple[_Encoded, _Encoded]]:
        """The pairs worth learning from; no more than gap + 1 encoded frames are held."""
        window: deque[_Encoded] = deque(maxlen=self.job.shard.gap + 1)
        for frame in self._frames():
            self.good_frames += 1
            window.append(_encode(frame, self.job.shard.quality))
            if len(window) == window.maxlen:
                self.changes.append(pair_change(window[0].grey, window[-1].grey))
                if self.judge.judge(self.changes[-1]) == "keep":
                    yield window[0], window[-1]

    def _write_tar(self, path: Path, pairs: Iterable[tuple[_Encoded, _Encoded]]) -> ShardRow:
        with atomic_path(path) as part:
            with tarfile.open(part, "w", copybufsize=2**20) as tar:  # type: ignore[call-overload]  # stubs lack it
                samples = sum(self._add_sample(tar, first, second) for first, second in pairs)
            return ShardRow(shard=path.name, samples=samples, bytes=part.stat().st_size, sha256=sha256(part))

    def _add_sample(self, tar: tarfile.TarFile, first: _Encoded, second: _Encoded) -> int:
        """Add one sample; nothing of its headers depends on who writes it, when or where."""
        meta = {
            "video_id": self.job.source.video_id,
            "frames": [first.frame, second.frame],
            "timestamps": [first.timestamp, second.timestamp],
            "height": first.height,
            "width": first.width,
        }
        members = {
            "first.jpg": first.jpeg,
            "meta.json": json.dumps(meta, sort_keys=True).encode(),
            "second.jpg": second.jpeg,
        }
        for name, content in members.items():
            header = tarfile.TarInfo(f"{meta['video_id']}-{first.frame:08d}.{name}")
            header.size = len(content)  # time, owner and group stay 0, the mode 0644
            tar.addfile(header, io.BytesIO(content))
        return 1


def _encode(frame: Frame, quality: int) -> _Encoded:
    height, width = frame.image.shape[:2]
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(frame.image), quality, colorsubsampling=SUBSAMPLING)
    return _Encoded(frame.index, frame.timestamp, height, width, jpeg, thumbnail(frame.image))
