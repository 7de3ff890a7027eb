"""Where the masks of an input lie, and whether they are done: a folder with a receipt per input and setting.

Input: the folder of all results, an input's name, and the key of what its masks are made of. Output: the folder of
that key: a new one, or the one that has its receipt. Nothing that lies there is removed: a folder of another key is
passed over for <name>-2, <name>-3 and so on.
"""

import hashlib
import re
from itertools import count
from pathlib import Path
from typing import Any

from amd.data.video.decode import Source
from amd.data.video.sources import RECEIPT
from amd.runtime.errors import UserError
from amd.runtime.receipts import standing, write_sealed


def find_place(out: Path, name: str, key: dict[str, Any]) -> tuple[Path, dict[str, Any] | None]:
    """The folder for masks of `key`, and their row where they are done.

    UserError for a folder of that name that is not ours. A damaged receipt is one of another key.
    """
    for number in count(1):
        folder = out / (name if number == 1 else f"{name}-{number}")
        files = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if files <= {RECEIPT}:  # nothing, or what a run left that failed before its first mask
            return folder, None
        if RECEIPT not in files:
            raise UserError(f"{folder}: was not made by amd segment; move it away or choose another --out")
        if (receipt := standing(folder / RECEIPT, "key", key)) is not None:
            return folder, receipt["row"]
    raise AssertionError


def mark(folder: Path, key: dict[str, Any], row: dict[str, Any] | None) -> None:
    """Write the receipt of masks that are begun (no row), or done."""
    write_sealed(folder / RECEIPT, {"key": key, "row": row})


def folder_name(source: Source) -> str:
    """The clip's own name, without suffix and without what a shell or another system trips over."""
    path = source.path / source.frame_names[0] if source.is_one_image and source.frame_names else source.path
    name = path.stem if source.frame_names is None or source.is_one_image else path.absolute().name
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "input"


def source_state(source: Source) -> str:
    """A hash that changes when a file of the source does: names, sizes and times of modification."""
    files = [source.path / name for name in source.frame_names] if source.frame_names is not None else [source.path]
    try:
        states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise UserError(f"{Path(error.filename).name}: not readable ({error.strerror})") from None
    return hashlib.sha256(repr(states).encode(errors="backslashreplace")).hexdigest()[:16]


def text_of(path: Path) -> str:
    """An absolute path as text that JSON can hold."""
    return str(path.absolute()).encode(errors="backslashreplace").decode()
