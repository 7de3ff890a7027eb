"""Mutations: in, a random generator and the bytes, text or JSON of a good file; out, what an enemy makes of it.

The same generator state gives the same mutation, so that a number is enough to repeat a case.
"""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
NASTY_VALUES = (
    None, True, 0, -1, 1, 2, 7, 10**4, 10**9, 2**31, 2**63, 10**30, -(10**18), 0.0, 0.5, -0.5, 1e308, float("nan"),
    float("inf"), "", "a", "0", "../../up", "/etc/passwd", "\0", "a" * 5000, "\ud7ff", [], [[]], [None], {}, {"a": {}},
)  # fmt: skip
BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(9)), "data: *a9"]
)
NASTY_LINES = (
    "", "..", "../../etc/passwd", "/dev/zero", "/dev/stdin", "\0", "%s%n", "a" * 5000, "clip.mp4 ../x.png", "\u202e",
    "frames 00000.png /etc/passwd", "frames ..", "~root", "-rf", "frames", "frames 1 2 3", "[" * 3000, "- " * 2000,
    "a: &a [*a]", "<<: *x", "? {", "!!python/object/apply:os.system [exit]", "%YAML 9.9", "key: 1e999",
    "x: !!binary ===", "&a [x,x,x,x,x,x,x,x,x]", "data: 0x", "- !!set {a, b}", "data: {videos: [1, 2]}",
    "pretrain: 2001-01-01", "\t- x", BOMB, BOMB,
)  # fmt: skip


def mutated_bytes(rng: random.Random, content: bytes) -> bytes:
    """One to four random changes; headers, which lie at the ends, are hit more often than their share."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(BYTE_CHANGES)(rng, data)
    return bytes(data)


def mutated_text(rng: random.Random, text: str) -> bytes:
    """Lines replaced, added, dropped or doubled; sometimes bytes changed as well."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(lines) + 1)
        change = rng.randrange(4)
        if change == 0:
            lines.insert(place, rng.choice(NASTY_LINES))
        elif change == 1 and lines:
            lines[place - 1] = _with_nasty_value(rng, lines[place - 1])
        elif change == 2:
            lines[place:] = lines[place + rng.randint(1, 5) :]
        else:
            lines[place:place] = lines[place : place + rng.randint(1, 5)]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return mutated_bytes(rng, content) if rng.random() < 0.2 else content


def mutated_json(rng: random.Random, value: Any) -> Any:
    """A copy of a JSON value in which some nodes are replaced, removed or renamed."""
    copied = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        copied = _changed_node(rng, copied)
    return copied


def nasty_value(rng: random.Random) -> Any:
    """A value that a reader did not expect."""
    return copy.deepcopy(rng.choice(NASTY_VALUES))  # which the caller may change


def _changed_node(rng: random.Random, value: Any) -> Any:
    """The value with one node of it changed; deeper ones as likely as others."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return nasty_value(rng)
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    change = rng.random()
    if change < 0.1:
        del value[key]
    elif change < 0.2 and isinstance(value, dict):
        value[str(nasty_value(rng))] = value.pop(key)
    else:
        value[key] = _changed_node(rng, value[key])
    return value


def _with_nasty_value(rng: random.Random, line: str) -> str:
    """`key: value` with another value; any other line as a whole."""
    key, colon, _ = line.partition(":")
    if not colon:
        return rng.choice(NASTY_LINES)
    return f"{key}: {rng.choice((nasty_value(rng), rng.choice(NASTY_LINES)))}"


def _place(rng: random.Random, data: bytearray) -> int:
    """A position: anywhere, or near the start or the end."""
    size = max(1, len(data))
    near = min(size, 256)
    return rng.choice((rng.randrange(size), rng.randrange(near), size - 1 - rng.randrange(near)))


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 4, 32))):
        if data:
            data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _overwrite_number(rng: random.Random, data: bytearray) -> None:
    width, place = rng.choice((1, 2, 4, 8)), _place(rng, data)
    number = rng.choice(EXTREMES) % (1 << 8 * width)
    data[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))


def _cut_off(rng: random.Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


def _remove(rng: random.Random, data: bytearray) -> None:
    place = _place(rng, data)
    del data[place : place + rng.choice((1, 2, 7, 64, 1000))]


def _insert(rng: random.Random, data: bytearray) -> None:
    place = _place(rng, data)
    data[place:place] = rng.randbytes(rng.choice((1, 2, 7, 64, 1000)))


def _repeat(rng: random.Random, data: bytearray) -> None:
    place, width = _place(rng, data), rng.choice((1, 8, 64, 1000))
    data[place:place] = data[place : place + width] * rng.choice((1, 2, 9))


def _blank(rng: random.Random, data: bytearray) -> None:
    place = _place(rng, data)
    width = min(rng.choice((4, 64, 1000)), len(data) - place)
    data[place : place + width] = bytes([rng.choice((0, 255))]) * width


BYTE_CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip, _flip, _overwrite_number, _overwrite_number, _cut_off, _remove, _insert, _repeat, _blank,
)  # fmt: skip
