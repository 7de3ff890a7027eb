"""Batches of videos, and what travels to the programs that do them and back."""

import errno
import json
from pathlib import Path

import pytest

from amd.config.profiles import load_profile
from amd.data.ingest.examine import Limits
from amd.data.pairs.write import Receipt, ShardJob, ShardRow
from amd.data.pool import Crash
from amd.data.video.decode import Source
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError
from flows.batch_work import LARGEST, WORKS, read_items, read_results, split, write_items, write_results

PARAMS = load_profile("quickstart")
SHARD = WORKS["shard"]


def jobs(*frames: int, evidence: MotionSource | None = None) -> list[ShardJob]:
    rows = [{"video_id": f"v{number}", "frames": count} for number, count in enumerate(frames)]
    return [ShardJob(row, Path("data/shards"), PARAMS.shard, evidence) for row in rows]


def sizes(*frames: int, workers: int = 2) -> list[list[int]]:
    return [[job.row["frames"] for job in batch] for batch in split(jobs(*frames), workers, SHARD)]


def test_batches_are_about_equally_large_and_keep_the_order() -> None:
    assert sizes(900, 40, 30, 20, 10) == [[900], [40, 30, 20, 10]]
    assert sizes(*[10] * 16) == [[10, 10]] * 8
    assert sizes(10, 10) == [[10], [10]]
    assert sizes() == []
    assert {len(batch) for batch in sizes(*[10] * 3200)} == {LARGEST}


def test_items_come_as_they_were_sent(tmp_path: Path) -> None:
    limits = Limits.of(PARAMS.ingest, PARAMS.shard)
    folder = Source("b", Path("frames"), ("1.png", "2.png"), upright=True)
    strange = Source("a", Path("caf\udce9.mp4"), problem="why", decoder="pyav")  # a name that is not UTF-8
    for name, items in {"ingest": [(folder, limits), (strange, limits)], "shard": jobs(3, 4)}.items():
        write_items(tmp_path / "items", WORKS[name], items)
        assert read_items(tmp_path / "items", WORKS[name]) == items
    items = jobs(5, evidence=MotionSource())
    write_items(tmp_path / "items", SHARD, items)
    assert read_items(tmp_path / "items", SHARD) == items


def test_results_and_errors_come_as_a_process_gives_them(tmp_path: Path) -> None:
    row = ShardRow(shard="a.tar", samples=2, bytes=3, sha256="0", quality=[1, 2])
    receipt = Receipt(video_id="a", video_sha256="1", fingerprint="2", shards=[row], median_change=0.1 + 0.2)
    path = str(tmp_path / "no" / "file")
    with pytest.raises(OSError, match="No such") as missing:
        Path(path).read_bytes()
    with pytest.raises(UnicodeDecodeError) as broken:
        b"\xff".decode()
    full = OSError(errno.ENOSPC, "No space left on device")
    sent = [receipt, UserError("a: full"), Crash("it died"), missing.value, broken.value, full]
    write_results(tmp_path / "results", SHARD, sent)
    found = read_results(tmp_path / "results", SHARD)
    assert found[0] == receipt
    assert [type(each).__name__ for each in found] == [type(each).__name__ for each in sent]
    assert [str(each) for each in found[1:]] == [str(each) for each in sent[1:]]
    assert [type(each) for each in found[1:3]] == [UserError, Crash]
    assert [isinstance(each, OSError) for each in found] == [isinstance(each, OSError) for each in sent]
    assert (found[3].filename, found[3].strerror) == (path, "No such file or directory")
    assert (found[5].filename, found[5].strerror) == (None, "No space left on device")


def test_rows_of_ingest_keep_every_digit(tmp_path: Path) -> None:
    row = {"fps": 30000 / 1001, "frames": 7, "reason": "", "decoder": None}
    write_results(tmp_path / "results", WORKS["ingest"], [row])
    assert read_results(tmp_path / "results", WORKS["ingest"]) == [row]
    assert json.loads((tmp_path / "results").read_text()) == [{"result": row}]
