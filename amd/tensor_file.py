"""A safetensors file whose bytes follow from its content alone, so that equal weights have equal hashes.

The library writes the entries of the metadata in a random order, which differs from one save to the next; here they
are put in order afterwards, in place.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from amd.files import atomic_path

LENGTH_BYTES = 8  # of the header, little-endian, before it


def save_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors of any device and memory format, and texts, atomically."""
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as part:
        save_file(copies, part, metadata)
        _order_metadata(part)


def _order_metadata(path: Path) -> None:
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) > length:
            raise RuntimeError(f"{path}: a header of {length} bytes became one of {len(ordered)}")
        file.seek(LENGTH_BYTES)
        file.write(ordered.ljust(length))  # padded with spaces, as the format has it
