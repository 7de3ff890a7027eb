"""Stage shard: frame pairs of the accepted inputs; videos that did not change keep theirs.

Input: data/manifest.parquet, params.shard. Output: data/shards.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from amd.config import Params
from amd.data.ingest.manifest import read_manifest
from amd.data.pairs.write import write_shards
from amd.data.tables import INDEX, PAIRS, read_table
from amd.runtime.files import run_lock
from stages import run_stage

if TYPE_CHECKING:
    from amd.runtime.tracking import Run

FOLDER = Path("data/shards")


def main(params: Params, run: "Run") -> None:
    """Bring the shards up to date with the manifest and params.yaml, and say what they hold."""
    with run_lock(".amd/locks/shard", "shard"):
        rows = read_manifest(Path("data/manifest.parquet"))
        start = time.monotonic()
        new_pairs = write_shards([row for row in rows if row["status"] == "accepted"], FOLDER, params.shard)
        seconds = time.monotonic() - start
        run.metrics({"new_pairs": new_pairs, "seconds": seconds})
        print(_totals(), f"{new_pairs} new pairs in {seconds:.1f} s ({new_pairs / seconds:.0f} pairs/s)", sep="; ")


def _totals() -> str:
    videos, shards = read_table(FOLDER / "pairs.parquet", PAIRS), read_table(FOLDER / "index.parquet", INDEX)
    pairs, still, cut = (sum(row[column] for row in videos) for column in ("pairs", "dropped_still", "dropped_cut"))
    size = sum(row["bytes"] for row in shards) / 1e6
    return (
        f"{FOLDER}: {pairs} pairs of {len(videos)} videos in {len(shards)} shards, {size:.1f} MB; "
        f"dropped {still} still and {cut} cut"
    )


if __name__ == "__main__":
    run_stage("shard", main, keeps=True)
