"""What a server of a model is sent, as files to segment: base64 text of a picture or a video, or the name of a file.

Input: text that nobody vouches for. Output: a path for as long as it is needed, after its kind and size were checked.
A file of this machine is read only below the folder that whoever runs the server names in AMD_SERVE_FOLDER.
"""

import base64
import binascii
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amd.data.images import image_size
from amd.data.video.limits import refuse_video
from amd.runtime.errors import UserError

FOLDER_VARIABLE = "AMD_SERVE_FOLDER"
FILE = "file:"
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # how a PNG and a JPEG begin
SHOWN = 40  # characters of a wrong text that an error repeats
WANTED = "send base64 of a PNG, a JPEG or a video, or file:NAME"


@dataclass(frozen=True)
class ServedLimits:
    """Beyond these an input is refused."""

    max_bytes: int = 256 << 20
    max_pixels: int = 1 << 24  # of one frame
    max_frames: int = 5000
    max_minutes: float = 10.0


LIMITS = ServedLimits()


@contextmanager
def served_file(item: Any) -> Iterator[Path]:
    """The file that an item means: one below the server's folder, or a temporary one of what the text encodes.

    Raises UserError for a file elsewhere, and for text that is no base64 or more than LIMITS.max_bytes.
    """
    text = item.decode("ascii", "replace") if isinstance(item, bytes) else item
    if not isinstance(text, str):
        raise UserError(f"an input is text, not {type(item).__name__}; {WANTED}")
    if text.startswith(FILE):
        path = _below_folder(text.removeprefix(FILE))
        _require_size(path.stat().st_size)
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="amd-served-") as file:
        file.write(_decoded(text))
        file.flush()
        yield Path(file.name)


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG or a JPEG by its first bytes; anything else is taken for a video."""
    with path.open("rb") as file:
        return file.read(8).startswith(PICTURES)


def require_usable(path: Path) -> None:
    """UserError when a picture's header or a video's container says more than LIMITS, or nothing readable."""
    if not is_picture(path):
        if reason := refuse_video(path, LIMITS, "the server's "):
            raise UserError(f"neither a PNG nor a JPEG, and as a video: {reason}")
        return
    try:
        height, width = image_size(path)
    except UserError as error:
        raise UserError(str(error).removeprefix(f"{path}: ")) from None
    if height * width > LIMITS.max_pixels:
        raise UserError(f"{width}x{height} is {width * height} pixels; the server's max_pixels is {LIMITS.max_pixels}")


def _below_folder(name: str) -> Path:
    """A file's path without links; whether a file outside the folder is there is not said."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise UserError(f"{FILE}{name[:SHOWN]}: this server reads no files; its operator sets {FOLDER_VARIABLE}")
    root = Path(folder).resolve()
    try:
        path = (root / name.removeprefix("//")).resolve()
        if path.is_relative_to(root) and path.is_file():
            return path
    except (OSError, ValueError):  # a name that cannot be one
        pass
    raise UserError(f"{FILE}{name[:SHOWN]}: no such file below the folder that this server reads")


def _decoded(text: str) -> bytes:
    """The bytes of base64 text, also of a data: address."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    _require_size(len(text) * 3 // 4)
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{text[:SHOWN]!r}: not base64; {WANTED}") from None
    if not content:
        raise UserError(f"an empty input; {WANTED}")
    return content


def _require_size(size: int) -> None:
    if size > LIMITS.max_bytes:
        raise UserError(f"{size} bytes; the server's max_bytes is {LIMITS.max_bytes}")
