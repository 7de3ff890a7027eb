"""Versions and history as text: what `amd models list` and `amd models history` print.

Enters: the registry. Leaves: a table with a row a version (aliases, label-free J, loss, what the gates said, seed,
hashes of the data, MLflow's run, commit), or a row a decision on the champion.
"""

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

HEADS = ("model", "version", "alias", "J image", "J adapted", "loss", "gates")
LINEAGE = ("seed", "videos", "manifest", "run", "commit", "registered (UTC)")
NOTHING = "-"  # for what is not known


def list_models() -> None:
    """Print every version that this project registered, the newest of a model first."""
    client = connect(create=False)
    by_model = our_versions(client)
    if not by_model:
        print("no registered models; the register stage makes one")
        return
    rows = [(*HEADS, *LINEAGE)]
    notes: dict[str, None] = {}  # in order, each once
    for name, versions in sorted(by_model.items()):
        aliases = aliases_of(client, name)
        for version in reversed(versions):
            rows.append(_row(version, aliases))
            notes |= dict.fromkeys(_notes(version))
    print(columns(rows), *notes, sep="\n")


def print_history(name: str) -> None:
    """Print every decision on the champion of a model, oldest first; UserError for an unknown model."""
    client = connect(create=False)
    versions_of(client, name)
    rows = [("at (UTC)", "what", "version", "before", "by", "why")]
    gates = []
    page = Ledger(client, name).read()
    for entry in page.entries:
        at = entry.at.removesuffix("+00:00")
        rows.append((at, entry.action, entry.version or NOTHING, entry.before or NOTHING, entry.by, entry.why))
        if entry.gates:
            gates.append(f"gates, {at}, version {entry.version}: {entry.gates}")
    print(columns(rows), *gates, sep="\n")
    if not page.done:
        print(f"the last was cut short before the alias moved; `amd models promote {name} {page.champion}` moves it")


def columns(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as lines of aligned columns."""
    rows = [[" ".join(cell.split()) or NOTHING for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(version: ModelVersion, aliases: dict[str, str]) -> tuple[str, ...]:
    tags = version.tags
    held = ",".join(alias for alias, holder in sorted(aliases.items()) if holder == str(version.version))
    evidence = Evidence.from_tags(tags)
    scores = (evidence.image_j, evidence.adapted_j) if evidence else ()
    return (
        version.name,
        str(version.version),
        held,
        *([f"{score:.3f}" for score in scores] or [NOTHING, NOTHING]),
        f"{evidence.loss:.4g}" if evidence else NOTHING,
        tags.get(VERDICT_TAG, NOTHING),
        tags.get(SEED_TAG, NOTHING),
        tags.get(VIDEOS_TAG, NOTHING),
        tags.get(MANIFEST_TAG, NOTHING)[:8],
        tags.get(PIPELINE_RUN_TAG, NOTHING)[:8],
        tags.get("git.commit", NOTHING)[:8] + ("+" if tags.get("git.dirty") == "true" else ""),
        datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
    )


def _notes(version: ModelVersion) -> list[str]:
    """What does not fit a row."""
    notes = []
    if (evidence := Evidence.from_tags(version.tags)) is not None:
        notes.append(f"{version.name} was scored on {evidence.scored_on}")
    if version.tags.get(VERDICT_TAG) == "refused":
        notes.append(f"{version.name} version {version.version} was refused: {version.tags.get(REASON_TAG, NOTHING)}")
    return notes
