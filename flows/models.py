"""Registered models for flows: an alias becomes a version once, so that a whole run uses the same weights."""

from pathlib import Path
from typing import NamedTuple

from mlflow.exceptions import MlflowException

from amd.runtime.errors import UserError
from amd.runtime.files import sha256
from amd.runtime.registered import CHAMPION, aliases_of, find_version, is_absent, pull
from amd.runtime.tracking import connect


class Pinned(NamedTuple):
    """A model that stays what it is."""

    uri: str  # models:/NAME/VERSION, or the checkpoint's path
    checkpoint: Path
    sha256: str


def pin(model: str) -> Pinned:
    """The version that `models:/NAME@ALIAS` means now, downloaded; a checkpoint is itself. UserError without it."""
    if model.startswith("models:/"):
        version = find_version(connect(create=False), model)
        uri = f"models:/{version.name}/{version.version}"
        checkpoint = pull(uri)
    else:
        uri, checkpoint = model, Path(model)
        if not checkpoint.is_file():
            raise UserError(f"{model}: no such checkpoint; give one, or models:/NAME@ALIAS")
    return Pinned(uri, checkpoint, sha256(checkpoint))


def champion(name: str) -> str | None:
    """models:/NAME/VERSION of the version that is champion now; None when there is none."""
    try:
        version = aliases_of(connect(), name).get(CHAMPION)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise UserError(f"models:/{name}: the registry does not answer ({str(error).splitlines()[0]})") from None
    return None if version is None else f"models:/{name}/{version}"
