"""What the registry holds: the versions that this project made, their addresses and aliases.

Input: `models:/NAME@ALIAS` or `models:/NAME/VERSION`. Output: MLflow's record of that version; UserError says what
there is instead.
"""

import re
import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path, raise_if_disk_full, sha256
from amd.runtime.tracking import connect

CHAMPION = "champion"
CHECKPOINT_NAME = "model.safetensors"
CHECKPOINT_IN_MODEL = f"artifacts/{CHECKPOINT_NAME}"  # of the MLflow model
CACHE = Path(".amd/models")
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


def pull(uri: str, out: Path | None = None) -> Path:
    """The checkpoint file of a version, downloaded once.

    `out` is the file to write, or a folder for it; without it the file goes to `.amd/models/NAME-VERSION/`. Raises
    UserError for an unknown model, alias or version, for a download that fails or is damaged, and for an `out` that is
    there and no registered checkpoint.
    """
    client = connect(create=False)
    version = find_version(client, uri)
    if out is None:
        target = CACHE / f"{version.name}-{version.version}" / CHECKPOINT_NAME
    else:
        target = out / CHECKPOINT_NAME if out.is_dir() else out
    if not target.is_file() or sha256(target) != version.tags[CHECKPOINT_TAG]:
        if out is not None:
            _require_replaceable(client, target)
        with atomic_path(target) as part, tempfile.TemporaryDirectory(dir=target.parent) as folder:
            file = fetch(client, version, CHECKPOINT_IN_MODEL, Path(folder))
            _check(version, file)
            file.replace(part)
    return target


def _require_replaceable(client: MlflowClient, target: Path) -> None:
    """A file that is no version's checkpoint was not pulled: it is somebody's own."""
    if not target.exists():
        return
    known = {version.tags[CHECKPOINT_TAG] for versions in our_versions(client).values() for version in versions}
    if not target.is_file() or sha256(target) not in known:
        raise UserError(f"{target}: is there already and no registered checkpoint; move it away or give another --out")


def pull_pyfunc(uri: str, out: Path) -> Path:
    """The whole model of a version as the new folder `out`: `mlflow.pyfunc.load_model(out)` takes it, offline too."""
    if out.exists():
        raise UserError(f"{out}: is there already; give a folder that is not")
    client = connect(create=False)
    version = find_version(client, uri)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".part", dir=out.parent) as scratch:
        model = fetch(client, version, "", Path(scratch))
        _check(version, model / CHECKPOINT_IN_MODEL)
        shutil.move(model, out)
    return out


def fetch(client: MlflowClient, version: ModelVersion, path: str, folder: Path) -> Path:
    """Download a file of a version's model, or all of it for an empty `path`, into `folder`; where it is then."""
    target = folder / "model"  # MLflow gives it back, or a place in it
    target.mkdir()
    try:
        location = client.get_model_version_download_uri(version.name, version.version)
        source = f"{location}/{path}" if path else location
        return Path(download_artifacts(source, dst_path=str(target), tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        if isinstance(error, OSError):
            raise_if_disk_full(error, folder)
        raise UserError(f"{_address(version)}: its files cannot be had ({str(error).splitlines()[0]})") from None


def _check(version: ModelVersion, checkpoint: Path) -> None:
    if not checkpoint.is_file() or sha256(checkpoint) != version.tags[CHECKPOINT_TAG]:
        raise UserError(f"{_address(version)}: its checkpoint is not the one that was registered; restore its files")


def _address(version: ModelVersion) -> str:
    return f"models:/{version.name}/{version.version}"
