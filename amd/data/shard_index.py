"""The index of the shards: in, an index.parquet; out, the shards that it lists, each there in its full size."""

import re
from pathlib import Path
from typing import NamedTuple

from amd.errors import UserError
from amd.tables import INDEX, read_table

SHARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}\.tar")
LEAST_BYTES = 3 * 512  # of a sample: the headers of its members


class Shard(NamedTuple):
    """A shard beside its index."""

    path: Path
    samples: int


def load_index(index: Path) -> list[Shard]:
    """The shards that `index` lists; UserError for an impossible row, or a shard that is missing or of another size."""
    shards = []
    for row in read_table(index, INDEX):
        name = row["shard"]
        if not _is_possible(row):
            raise UserError(f"{index}: the row of {name!r} is damaged; run the stage shard again")
        path = (index.parent / name).resolve()
        size = path.stat().st_size if path.is_file() else None
        if size != row["bytes"]:
            found = "is missing" if size is None else f"is damaged: {size} bytes, not {row['bytes']}"
            raise UserError(f"{path}: the shard {found}; run the stage shard again")
        shards.append(Shard(path, row["samples"]))
    return shards


def _is_possible(row: dict) -> bool:
    """Whether a row names a file beside the index, and no more samples than fit into that."""
    name, samples, size = row["shard"] or "", row["samples"] or 0, row["bytes"] or 0
    return SHARD_NAME.fullmatch(name) is not None and 1 <= samples <= size // LEAST_BYTES
