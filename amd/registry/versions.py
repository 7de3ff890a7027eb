"""What the registry holds: the versions that this project made, their addresses and aliases.

Enters: `models:/NAME@ALIAS` or `models:/NAME/VERSION`. Leaves: MLflow's record of that version; UserError says what
there is instead.
"""

import re

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from amd.errors import UserError

CHAMPION = "champion"
CHECKPOINT_TAG = "checkpoint.sha256"  # marks the versions that this project made
MAX_DROP_TAG = "gate.max_drop"
VERDICT_TAG = "gate.verdict"
REASON_TAG = "gate.reason"
PIPELINE_RUN_TAG = "pipeline.run"
RECIPE_TAG = "recipe.sha256"  # of the parameters but for seeds and scheduling
SEED_TAG = "seed"
SCORES_NAME = "scores.json"  # metrics/vos.json, in the version's folder
MODEL_URI = re.compile(r"models:/(?P<name>[^/@'\"]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


def our_versions(client: MlflowClient, name: str | None = None) -> dict[str, list[ModelVersion]]:
    """The versions that this project made, of `name` or by model, oldest first; a server may hold others' too."""
    found = client.search_model_versions(f"name = '{name}'" if name else None)
    by_model: dict[str, list[ModelVersion]] = {}
    for version in sorted(found, key=lambda each: int(each.version)):
        if CHECKPOINT_TAG in version.tags:
            by_model.setdefault(version.name, []).append(version)
    return by_model


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion]:
    """The versions of one model, oldest first; UserError when this project registered none."""
    versions = our_versions(client, name).get(name)
    if versions is None:
        there = ", ".join(sorted(our_versions(client))) or "none"
        raise UserError(f"models:/{name}: no model {name!r} in the registry; registered: {there}")
    return versions


def find_version(client: MlflowClient, uri: str) -> ModelVersion:
    """The version that a URI names; UserError says what there is instead."""
    match = MODEL_URI.fullmatch(uri)
    if match is None:
        raise UserError(f"{uri}: not a model's address; write models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match["name"], match["alias"], match["version"]
    versions = versions_of(client, name)
    aliases = aliases_of(client, name)
    wanted = aliases.get(alias) if alias else number
    for version in versions:
        if str(version.version) == wanted:
            return version
    what = f"alias {alias!r}" if alias else f"version {number}"
    numbers = ", ".join(str(version.version) for version in versions)
    held = ", ".join(f"{alias} (version {version})" for alias, version in sorted(aliases.items())) or "none"
    raise UserError(f"{uri}: {name!r} has no {what}; versions: {numbers}; aliases: {held}")


def aliases_of(client: MlflowClient, name: str) -> dict[str, str]:
    """The version of every alias."""
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def is_absent(error: MlflowException) -> bool:
    """Whether MLflow says that something is not there."""
    return error.error_code == "RESOURCE_DOES_NOT_EXIST"
