"""Two registered versions side by side: scores per sequence, and which parameters and data differ.

Enters: two addresses. Leaves: text. Scores per sequence come from the versions' own files, parameters and data from
the MLflow runs that registered them.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from amd.errors import UserError
from amd.files import read_json
from amd.gates import BENCHMARK_TAG, Evidence
from amd.model_card import MANIFEST_TAG, VIDEOS_TAG
from amd.registry.download import fetch
from amd.registry.listing import NOTHING, columns
from amd.registry.versions import SCORES_NAME, find_version
from amd.tracking import connect

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
    return (label, *cells, NOTHING if None in (first, second) else f"{second - first:+.3f}")


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
        run = client.get_run(version.run_id).data
    except MlflowException:  # it was deleted; the version is still good
        return {}, _tell(version.tags)
    return run.params, _tell(run.tags | version.tags)


def _tell(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.startswith(DATA_TAGS)}


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, ...]]:
    keys = sorted(first.keys() | second.keys())
    pairs = ((key, first.get(key, NOTHING), second.get(key, NOTHING)) for key in keys)
    return [(key, _short(one), _short(other)) for key, one, other in pairs if one != other]


def _short(value: str) -> str:
    """A value in a column's room; a hash or a list shows its ends."""
    return value if len(value) <= LONGEST else f"{value[: LONGEST // 2]}…{value[-LONGEST // 2 :]}"
