"""Forged files of a structure: tables, shards and checkpoints whose parts an enemy has chosen, and not only bytes."""

import io
import json
import random
import struct
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.mutation import mutated_bytes, mutated_json, nasty_value

MEMBER_NAMES = ("../../up.first.jpg", "/etc/x.first.jpg", "a.first.jpg", "no-extension", "a.b.c.jpg", "", "a" * 300)
LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)


def write_forged_table(rng: random.Random, good: Path, path: Path) -> None:
    """A Parquet file with other bytes, or with one column of nasty values or none."""
    if rng.random() < 0.5:
        path.write_bytes(mutated_bytes(rng, good.read_bytes()))
        return
    table = pq.read_table(good)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    name, value = rng.choice(table.column_names), nasty_value(rng)
    if rng.random() < 0.2:
        del columns[name]
    else:
        columns[name] = [value] * table.num_rows
    try:
        pq.write_table(pa.table(columns), path)
    except (pa.ArrowException, OverflowError, TypeError):  # no column holds it
        pq.write_table(pa.table(columns | {name: [str(value)[:100]] * table.num_rows}), path)


def forged_tar(rng: random.Random, content: bytes) -> bytes:
    """A tar with other bytes, or with one member replaced, renamed, linked or made a giant by its header."""
    if rng.random() < 0.4:
        return mutated_bytes(rng, content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=buffer, mode="w") as new:
        members = old.getmembers()
        victim = rng.randrange(len(members))
        for number, member in enumerate(members):
            body = old.extractfile(member).read()
            if number == victim:
                body = _forge_member(rng, member, body)
            member.size = len(body) if member.isfile() else 0
            new.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def forged_safetensors(rng: random.Random, content: bytes, key: str) -> bytes:
    """Other bytes, or another header: of the tensors, or inside the JSON that the metadata has under `key`."""
    if rng.random() < 0.35:
        return mutated_bytes(rng, content)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if rng.random() < 0.7:
        inside = mutated_json(rng, json.loads(header["__metadata__"][key]))
        header["__metadata__"][key] = json.dumps(inside)
    else:
        header = mutated_json(rng, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    length = rng.choice((len(text),) * 9 + (2**63 - 1,))
    return length.to_bytes(8, "little") + text + content[8 + size :]


def _forge_member(rng: random.Random, member: tarfile.TarInfo, body: bytes) -> bytes:
    """Change a member's header or give it another body."""
    change = rng.randrange(4)
    if change == 0:
        member.name = rng.choice(MEMBER_NAMES)
    elif change == 1:
        member.type, member.linkname = rng.choice(LINKS), "/etc/passwd"
    elif change == 2:
        return rng.choice((b"", b"\xff\xd8\xff", rng.randbytes(100), json.dumps(nasty_value(rng)).encode()))
    else:
        return _giant(body)
    return body


def _giant(jpeg: bytes) -> bytes:
    """A JPEG whose header promises 65,500 x 65,500 pixels."""
    place = jpeg.find(b"\xff\xc0")
    return jpeg if place < 0 else jpeg[: place + 5] + struct.pack(">HH", 65500, 65500) + jpeg[place + 9 :]
