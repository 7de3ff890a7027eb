"""The frame pairs of one WebDataset shard in any order: its table of contents first, then pictures by their place.

Input: the path of a tar of KEY.first.jpg, KEY.second.jpg and what else samples have, such as the maps of their motion
evidence. Output: encoded pictures.
"""

import os
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from webdataset.tariterators import base_plus_ext

from amd.data.tables import INDEX, read_table
from amd.runtime.errors import UserError

PICTURES = ("first.jpg", "second.jpg")
MAPS = ("first.png", "second.png")
MEMBERS = (*PICTURES, *MAPS)


class Contents(NamedTuple):
    """Where N samples lie in a shard: `keys` N byte strings; `places` N,4,2 int64: offset and size of MEMBERS."""

    keys: np.ndarray
    places: np.ndarray


def read_contents(path: Path) -> Contents:
    """A shard's table of contents, in the order of the file; UserError when it is no tar or ends early."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            end = path.stat().st_size
            for member in tar:
                key, kind = base_plus_ext(member.name)
                if key is None:
                    continue
                place = (member.offset_data, member.size) if member.isreg() else (0, 0)
                if sum(place) > end:
                    raise tarfile.ReadError("it ends early")
                samples.setdefault(key, {})[kind] = place
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise damaged(path, first_line(error)) from None
    places = [[kinds.get(name, (0, 0)) for name in MEMBERS] for kinds in samples.values()]
    return Contents(
        np.array([key.encode() for key in samples]), np.array(places, np.int64).reshape(-1, len(MEMBERS), 2)
    )


class ShardFile:
    """An open shard; UserError where it has gone."""

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self._contents = contents
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise damaged(path, first_line(error)) from None

    def read(self, number: int) -> tuple[str, bytes, bytes]:
        """Key and both encoded pictures of a sample; UserError when it is not there."""
        if number >= len(self._contents.keys):
            raise damaged(self.path, "it ends early")
        key = self._contents.keys[number].decode()
        first, second = map(self._picture, (key, key), PICTURES, self._contents.places[number, :2].tolist())
        return key, first, second

    def read_maps(self, number: int) -> tuple[bytes, bytes]:
        """Both maps of motion evidence of a sample that was read; UserError when they are not there."""
        key = self._contents.keys[number].decode()
        first, second = map(self._picture, (key, key), MAPS, self._contents.places[number, 2:].tolist())
        return first, second

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _picture(self, key: str, name: str, place: list[int]) -> bytes:
        offset, size = place
        if not size:
            raise damaged(self.path, f"sample {key} has no {name}")
        try:
            return os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise damaged(self.path, first_line(error)) from None


def damaged(path: Path, reason: str) -> UserError:
    """What to say of a shard that cannot be read."""
    return UserError(f"{path}: the shard is damaged ({reason}); delete it and run the stage shard again")


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]


SHARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}\.tar")
LEAST_BYTES = 3 * 512  # of a sample: the headers of its members


class Shard(NamedTuple):
    """A shard beside its index."""

    path: Path
    samples: int
    videos: tuple[str, ...]  # that its samples are of: one
    quality: np.ndarray | None = None  # uint8, of each sample's motion evidence; None: the shard holds none


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
        quality = None if row["quality"] is None else np.array(row["quality"], np.uint8)
        shards.append(Shard(path, row["samples"], tuple(row["video_ids"]), quality))
    return shards


def _is_possible(row: dict) -> bool:
    """Whether a row names a file beside the index, and no more samples than fit into that."""
    name, samples, size = row["shard"] or "", row["samples"] or 0, row["bytes"] or 0
    possible = SHARD_NAME.fullmatch(name) is not None and 1 <= samples <= size // LEAST_BYTES
    return possible and (row["quality"] is None or (len(row["quality"]) == samples and None not in row["quality"]))
