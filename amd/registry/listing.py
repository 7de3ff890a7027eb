"""Versions and history as text: what `amd models list` and `amd models history` print.

Input: the registry. Output: a table a model with a row a version (aliases, label-free J per image and adapted, loss,
what the gates said, seed, number of videos, hash of their manifest, MLflow's run, commit), or a row a decision on the
champion. Lines are kept to WIDTH.
"""

import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import cast

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from amd.registry.gates import BENCHMARK_TAG, Evidence
from amd.registry.ledger import Ledger
from amd.registry.model_card import MANIFEST_TAG, VIDEOS_TAG
from amd.registry.promotion import OVERRIDDEN
from amd.runtime.errors import UserError
from amd.runtime.files import read_json
from amd.runtime.registered import (
    PIPELINE_RUN_TAG,
    REASON_TAG,
    SCORES_NAME,
    SEED_TAG,
    VERDICT_TAG,
    aliases_of,
    fetch,
    find_version,
    our_versions,
    versions_of,
)
from amd.runtime.tracking import LINEAGE_NAME, connect

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
            how = "against the gates" if entry.gates.startswith(OVERRIDDEN) else "passed the gates"
            print(_wrapped(f"version {entry.version} {how}: {entry.gates}"))
    if not page.done:
        print(f"the last was cut short before the alias moved; `amd models promote {name} {page.champion}` moves it")


def columns(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as lines of aligned columns; the last column goes on below itself where it passes WIDTH."""
    cells = [[" ".join(cell.split()) or NOTHING for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    return "\n".join(_wrapped("  ".join(map(str.ljust, row, widths)).rstrip(), indent) for row in cells)


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
        *([NOTHING if isnan(score) else f"{score:.3f}" for score in scores] or [NOTHING, NOTHING]),
        f"{evidence.loss:.3g}" if evidence else NOTHING,
        *(tags.get(tag, NOTHING) for tag in (VERDICT_TAG, SEED_TAG, VIDEOS_TAG)),
        *(tags.get(tag, NOTHING)[:HASH] for tag in (MANIFEST_TAG, PIPELINE_RUN_TAG)),
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


LONGEST = 30  # characters of a value
DATA_TAGS = ("dvc.data/", MANIFEST_TAG, VIDEOS_TAG, BENCHMARK_TAG, "git.commit")


def compare(first: str, second: str) -> None:
    """Print scores, parameters and data of two versions; UserError for an unknown one."""
    client = connect(create=False)
    versions = [find_version(client, uri) for uri in (first, second)]
    names = [f"{version.name}/{version.version}" for version in versions]
    print(columns([("", *names, "difference"), *_headlines(versions)]))
    benchmarks = {version.tags.get(BENCHMARK_TAG) for version in versions}
    if len(benchmarks) > 1 or None in benchmarks:
        print("they were scored on different things, so their J do not compare")
    for prediction in ("image", "adapted"):
        if rows := _sequences(*(_scores(client, version, prediction) for version in versions)):
            print(f"\nlabel-free J, {prediction}\n" + columns([("sequence", *names, "difference"), *rows]))
    facts = [_facts(client, version) for version in versions]
    for number, title in enumerate(("parameters", "data and code")):
        rows = _differences(*(fact[number] for fact in facts))
        print(f"\n{title} that differ\n" + (columns([("", *names), *rows]) if rows else "none"))


def _headlines(versions: list[ModelVersion]) -> list[tuple[str, ...]]:
    found = [Evidence.from_tags(version.tags) for version in versions]
    labels = {"image_j": "J per image", "adapted_j": "J adapted", "loss": "loss"}
    return [_numbers(label, *(getattr(evidence, key, None) for evidence in found)) for key, label in labels.items()]


def _sequences(first: Mapping[str, float], second: Mapping[str, float]) -> list[tuple[str, ...]]:
    names = sorted(first.keys() | second.keys())
    return [_numbers(name, first.get(name), second.get(name)) for name in names]


def _numbers(label: str, first: float | None, second: float | None) -> tuple[str, ...]:
    cells = [NOTHING if value is None else f"{value:.3f}" for value in (first, second)]
    return (label, *cells, NOTHING if first is None or second is None else f"{second - first:+.3f}")


def _scores(client: MlflowClient, version: ModelVersion, prediction: str) -> dict[str, float]:
    """J of every sequence; empty for a version that was registered without its scores."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = read_json(fetch(client, version, SCORES_NAME, Path(folder)))
            sequences = report["scores"][prediction]["label-free"]["sequences"]
            return {name: measures["J"]["mean"] for name, measures in sequences.items()}
        except (UserError, KeyError, TypeError):
            return {}


def _facts(client: MlflowClient, version: ModelVersion) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters, and what tells the data and the code, of the run that registered a version."""
    try:
        run = client.get_run(cast(str, version.run_id))
    except MlflowException:  # it was deleted; the version is still good
        return {}, _tell(version.tags)
    return run.data.params, _tell({**_lineage(client, run.info.run_id), **run.data.tags, **version.tags})


def _lineage(client: MlflowClient, run_id: str) -> dict[str, str]:
    """The hashes of the pipeline's files; empty for a run of before they were an artifact, which has them as tags."""
    with tempfile.TemporaryDirectory() as folder, suppress(MlflowException, OSError, UserError):
        return read_json(client.download_artifacts(run_id, LINEAGE_NAME, folder))
    return {}


def _tell(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.startswith(DATA_TAGS)}


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, ...]]:
    keys = sorted(first.keys() | second.keys())
    pairs = ((key, first.get(key, NOTHING), second.get(key, NOTHING)) for key in keys)
    return [(key, _short(one), _short(other)) for key, one, other in pairs if one != other]


def _short(value: str) -> str:
    """A value in a column's room; a hash or a list shows its ends."""
    return value if len(value) <= LONGEST else f"{value[: LONGEST // 2]}…{value[-LONGEST // 2 :]}"
