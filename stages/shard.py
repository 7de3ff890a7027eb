"""Stage: frame pairs in shards. params: shard; dep: data/manifest.parquet; out (kept): data/shards."""

import time
from pathlib import Path

from amd.data.shards import write_shards
from amd.errors import exit_on_user_error
from amd.files import run_lock
from amd.params import load_params
from amd.tables import INDEX, MANIFEST, PAIRS, read_table

FOLDER = Path("data/shards")


@exit_on_user_error
def main() -> None:
    """Bring the shards up to date with the manifest and params.yaml, and say what they hold."""
    shard = load_params().shard
    with run_lock(".amd/locks/shard", "shard"):
        rows = read_table("data/manifest.parquet", MANIFEST)
        start = time.monotonic()
        new_pairs = write_shards([row for row in rows if row["status"] == "accepted"], FOLDER, shard)
        seconds = time.monotonic() - start
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
    main()
