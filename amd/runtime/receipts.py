"""What is done already, and from what: the one way in which results are kept instead of made again.

Results are made from data, settings and code. A `fingerprint` of these names them; the last file that is written beside
the results is a receipt, sealed with a hash of itself, that says what they were made from. A receipt stands while it
is as it was written and would be made from the same again; whoever reads it looks whether the results are there.

    what                                      where                                made from is its
    predictions (stages.receipts)             <out>/done/<dataset>/<sequence>.json origin
    shards of a video (amd.data.pairs.write)  data/shards/videos/<video_id>.json   fingerprint
    masks of `amd segment`                    <out>/<input>/receipt.json           key
    a step of `amd train` (amd.cli.training)  <out>/.amd/done/<step>.json          made_from
    a training under way (amd.training.launching)  .amd/<task>/<fingerprint>/      folder's name

Not receipts, since they hold no result's word: ingest's memory is a table of rows by content, a claim of the inbox says
who works on a file, DVC's lock files are DVC's.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from amd.runtime.errors import UserError
from amd.runtime.files import read_json, write_json

SEAL = "sha256_of_the_rest"


def fingerprint(made_from: Any) -> str:
    """A hash of plain data, in hex: equal data have an equal one, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path | str, value: dict[str, Any]) -> None:
    """Write a JSON object with a hash of itself, for a file whose word is taken instead of doing the work again."""
    write_json(path, {**value, SEAL: fingerprint(value)})


def read_sealed(path: Path | str) -> dict[str, Any]:
    """Read what `write_sealed` wrote; UserError when it is missing, damaged or not as it was written."""
    value = read_json(path)
    if not isinstance(value, dict) or value.pop(SEAL, None) != fingerprint(value):
        raise UserError(f"{path}: not as it was written; remove it")
    return value


def standing(path: Path | str, field: str, made_from: Any) -> dict[str, Any] | None:
    """The receipt at `path`, whose `field` says what it was made from; None when that is not `made_from`.

    None also for a receipt that is missing or damaged: the work is to be done again.
    """
    try:
        receipt = read_sealed(path)
    except UserError:
        return None
    return receipt if receipt.get(field) == made_from else None
