"""Versions and history as text: what `amd models list` and `amd models history` print.

Enters: the registry. Leaves: a table a model with a row a version (aliases, label-free J per image and adapted, loss,
what the gates said, seed, number of videos, hash of their manifest, MLflow's run, commit), or a row a decision on the
champion. Lines are kept to WIDTH.
"""

import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

from amd.gates import Evidence
from amd.model_card import MANIFEST_TAG, VIDEOS_TAG
from amd.registry.ledger import Ledger
from amd.registry.versions import (
    PIPELINE_RUN_TAG,
    REASON_TAG,
    SEED_TAG,
    VERDICT_TAG,
    aliases_of,
    our_versions,
    versions_of,
)
from amd.tracking import connect

HEADS = ("version", "alias", "J", "adapted", "loss", "gates", "seed", "videos", "data", "run", "commit", "registered")
NOTHING = "-"  # for what is not known
WIDTH = 100  # columns of a terminal
NARROWEST = 20  # what a wrapped text needs of it
HASH = 6  # characters of a hash


def list_models() -> None:
    """Print every version that this project registered, the newest of a model first."""
    client = connect(create=False)
    by_model = our_versions(client)
    if not by_model:
        print("no registered models; the register stage makes one")
        return
    for name, versions in sorted(by_model.items()):
        aliases = aliases_of(client, name)
        print(name)
        print(columns([HEADS, *(_row(version, aliases) for version in reversed(versions))]))
        notes = dict.fromkeys(note for version in reversed(versions) for note in _notes(version))  # each once
        print(*map(_wrapped, notes), "", sep="\n")


def print_history(name: str) -> None:
    """Print every decision on the champion of a model, oldest first; UserError for an unknown model."""
    client = connect(create=False)
    versions_of(client, name)
    rows = [("at (UTC)", "what", "version", "before", "by", "why")]
    page = Ledger(client, name).read()
    for entry in page.entries:
        at = entry.at.removesuffix("+00:00")
        rows.append((at, entry.action, entry.version or NOTHING, entry.before or NOTHING, entry.by, entry.why))
    print(columns(rows))
    for entry in page.entries:
        if entry.action == "promoted":
            print(_wrapped(f"version {entry.version} passed the gates: {entry.gates}"))
    if not page.done:
        print(f"the last was cut short before the alias moved; `amd models promote {name} {page.champion}` moves it")


def columns(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as lines of aligned columns; the last column goes on below itself where it passes WIDTH."""
    rows = [[" ".join(cell.split()) or NOTHING for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    return "\n".join(_wrapped("  ".join(map(str.ljust, row, widths)).rstrip(), indent) for row in rows)


def _wrapped(line: str, indent: int = 4) -> str:
    """A line as several that fit WIDTH, but for words that are longer."""
    if WIDTH - indent < NARROWEST:
        return line
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _row(version: ModelVersion, aliases: dict[str, str]) -> tuple[str, ...]:
    tags = version.tags
    held = ",".join(alias for alias, holder in sorted(aliases.items()) if holder == str(version.version))
    evidence = Evidence.from_tags(tags)
    scores = (evidence.image_j, evidence.adapted_j) if evidence else ()
    commit = tags.get("git.commit", NOTHING)[:HASH] + ("+" if tags.get("git.dirty") == "true" else "")
    return (
        str(version.version),
        held,
        *([f"{score:.3f}" for score in scores] or [NOTHING, NOTHING]),
        f"{evidence.loss:.3g}" if evidence else NOTHING,
        tags.get(VERDICT_TAG, NOTHING),
        tags.get(SEED_TAG, NOTHING),
        tags.get(VIDEOS_TAG, NOTHING),
        tags.get(MANIFEST_TAG, NOTHING)[:HASH],
        tags.get(PIPELINE_RUN_TAG, NOTHING)[:HASH],
        commit,
        datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d"),
    )


def _notes(version: ModelVersion) -> list[str]:
    """What does not fit a row."""
    notes = []
    if (evidence := Evidence.from_tags(version.tags)) is not None:
        notes.append(f"scored on {evidence.scored_on}")
    if version.tags.get(VERDICT_TAG) == "refused":
        notes.append(f"version {version.version} was refused: {version.tags.get(REASON_TAG, NOTHING)}")
    return notes
