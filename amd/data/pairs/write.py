"""Frame pairs in WebDataset shards: accepted videos in, tar shards with their index and counts out.

Frames i and i + gap, after the conversion of rate and size, make a pair; pairs that are still or a cut are
dropped (amd.data.pairs.select). Every video has shards of its own, so adding one rewrites no other's, and a receipt,
written after them, so that a finished video is not done again. A video is decoded once, sequentially, in a
process that it may take down without harm to the others; memory does not grow with its length. Where a source of
motion evidence is given, every frame's map lies beside it.

    <video_id>-00000.tar     samples <video_id>-<index of the first frame>: first.jpg, meta.json, second.jpg; with
                             evidence first.png and second.png, too
    videos/<video_id>.json   the receipt
    index.parquet            a row per shard (amd.data.tables.INDEX)
    pairs.parquet            a row per video (amd.data.tables.PAIRS)
    evidence.parquet         with evidence, a row per video (amd.data.tables.EVIDENCE)
"""

import re
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ValidationError

from amd.config import Shard
from amd.data.ingest.manifest import source_of
from amd.data.pairs.evidence import LIMITS, EvidenceSource
from amd.data.pairs.pack import ShardRow, VideoPass
from amd.data.pairs.space import bytes_needed, require_space
from amd.data.pool import Each, each_in_pool
from amd.data.tables import EVIDENCE, INDEX, PAIRS, write_table
from amd.data.video.decode import Source
from amd.runtime.errors import UserError
from amd.runtime.files import remove_half_written, sha256
from amd.runtime.progress import progress
from amd.runtime.receipts import fingerprint, standing, write_sealed

FORMAT = 3  # raise it when other bytes come out for the same input: older receipts then no longer count
OURS = re.compile(r"[A-Za-z0-9_-]+(-\d{5}\.tar|\.json)")  # names of shards and receipts


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
    evidence: dict | None = None  # the video's row of evidence.parquet; None: its shards hold none


def write_shards(
    rows: list[dict], folder: Path, shard: Shard, evidence: EvidenceSource | None = None, each: Each = each_in_pool
) -> int:
    """Make `folder` hold the shards of exactly `rows`, the accepted rows of the manifest.

    Returns how many pairs are new; the rest is from earlier runs. `each` hands the work out, to `shard.workers` at
    once; the same rows and parameters give the same bytes whatever it is. Needs the folder for itself: it removes
    what videos that are gone or changed, or an interrupted run, left there. A video that fails keeps the pairs of its
    good frames, is named on stderr and stops no other. With `evidence`, shards hold motion evidence, too. Raises
    UserError for a disk that is full or has not the room that shards will take, and when no video gave a pair.
    """
    jobs = {row["video_id"]: ShardJob(row, folder, shard, evidence) for row in rows}
    for table in ("index.parquet", "pairs.parquet", "evidence.parquet"):  # no half-done folder passes for a whole one
        (folder / table).unlink(missing_ok=True)
    receipts = {video_id: found for video_id, job in jobs.items() if (found := job.standing_receipt())}
    _keep_only(folder, receipts.values())
    todo = [job for video_id, job in jobs.items() if video_id not in receipts]
    todo.sort(key=lambda job: -job.row["frames"])  # the longest first: no worker waits for one at the end
    if todo and (needed := bytes_needed([job.row for job in todo], shard, evidence)):
        print(f"shard: {len(todo)} videos take {require_space(needed, folder)}", file=sys.stderr)
    try:
        with closing(each(shard_video, todo, shard.workers)) as outcomes:
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


def _receipt(job: "ShardJob", outcome: Receipt | Exception) -> Receipt:
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
    if known := [receipt.evidence for receipt in receipts if receipt.evidence is not None]:
        write_table(folder / "evidence.parquet", EVIDENCE, known)
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
class ShardJob:
    """One video to shard."""

    row: dict
    folder: Path
    shard: Shard
    evidence: EvidenceSource | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Za-z0-9_-]+", self.row["video_id"]):
            raise UserError(f"manifest: {self.row['video_id']!r} is not a video_id; run the stage ingest again")

    @property
    def source(self) -> Source:
        return source_of(self.row)

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
        content |= {"format": FORMAT, "shard": self.shard.model_dump(exclude={"workers", "runner"})}
        content |= {"evidence": self.evidence.key(), "limits": LIMITS.model_dump()} if self.evidence else {}
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


def shard_video(job: ShardJob) -> Receipt:
    """Write one video's shards and then its receipt, without which the next try does the video again.

    Raises UserError for a full disk; a video that does not decode to its end is no error.
    """
    if done := job.standing_receipt():  # by a worker that was lost with the rest of its batch
        return done
    video = VideoPass(job.source, job.row["frames"], job.folder, job.shard, job.evidence)
    shards = video.write()
    receipt = job.receipt(
        shards=shards,
        pairs=video.judge.counts["keep"],
        dropped_still=video.judge.counts["still"],
        dropped_cut=video.judge.counts["cut"],
        median_change=median(video.changes) if video.changes else None,
        reason=video.reason,
        evidence=_evidence_row(job.row["video_id"], video, shards) if job.evidence else None,
    )
    if video.good_frames:
        write_sealed(_receipt_path(job.folder, receipt.video_id), receipt.model_dump())
    return receipt


def _evidence_row(video_id: str, video: VideoPass, shards: list[ShardRow]) -> dict:
    usable = sum(value > 0 for row in shards for value in row.quality or [])
    return {"video_id": video_id, **video.motion.row(), "pairs": usable, "bytes": video.map_bytes}
