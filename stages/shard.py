"""Stage shard: frame pairs of the accepted inputs; videos that did not change keep theirs.

Input: data/manifest.parquet, params.shard, params.pretrain.objective. Output: data/shards, with motion evidence where
that objective has a use for it.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from amd.config import Params
from amd.data.ingest.manifest import read_manifest
from amd.data.pairs.write import write_shards
from amd.data.tables import EVIDENCE, INDEX, PAIRS, read_table
from amd.runtime.files import run_lock
from stages import run_stage
from stages.fan_out import fan_out

if TYPE_CHECKING:
    from amd.data.pairs.evidence import EvidenceSource
    from amd.runtime.tracking import Run

FOLDER = Path("data/shards")


def main(params: Params, run: "Run") -> None:
    """Bring the shards up to date with the manifest and params.yaml, and say what they hold."""
    with run_lock(".amd/locks/shard", "shard"):
        rows = read_manifest(Path("data/manifest.parquet"))
        start = time.monotonic()
        accepted = [row for row in rows if row["status"] == "accepted"]
        evidence = _evidence() if params.pretrain.objective.evidence else None
        new_pairs = write_shards(accepted, FOLDER, params.shard, evidence, fan_out(params.shard.runner))
        seconds = time.monotonic() - start
        run.metrics({"new_pairs": new_pairs, "seconds": seconds})
        print(_totals(), f"{new_pairs} new pairs in {seconds:.1f} s ({new_pairs / seconds:.0f} pairs/s)", sep="; ")


def _evidence() -> "EvidenceSource":
    from amd.motion.source import MotionSource  # here: torch, which worker processes without evidence have no use for

    return MotionSource()


def _totals() -> str:
    videos, shards = read_table(FOLDER / "pairs.parquet", PAIRS), read_table(FOLDER / "index.parquet", INDEX)
    pairs, still, cut = (sum(row[column] for row in videos) for column in ("pairs", "dropped_still", "dropped_cut"))
    size = sum(row["bytes"] for row in shards) / 1e6
    words = (
        f"{FOLDER}: {pairs} pairs of {len(videos)} videos in {len(shards)} shards, {size:.1f} MB; "
        f"dropped {still} still and {cut} cut"
    )
    if not (FOLDER / "evidence.parquet").is_file():
        return words
    known = read_table(FOLDER / "evidence.parquet", EVIDENCE)
    refused = sum(bool(row["reason"]) for row in known)
    return f"{words}; {sum(row['pairs'] for row in known)} pairs with sure evidence, {refused} videos without any"


if __name__ == "__main__":
    run_stage("shard", main, keeps=True)
