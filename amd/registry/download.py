"""Getting a registered model back: its checkpoint as a file, or all of it as a folder that runs anywhere.

Enters: `models:/NAME@ALIAS` or `models:/NAME/VERSION`. Leaves: files whose checkpoint has the hash of the registered
one; UserError for a download that fails or is damaged.
"""

import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from amd.errors import UserError
from amd.files import atomic_path, raise_if_disk_full, sha256
from amd.registry.packaging import CHECKPOINT_IN_MODEL, CHECKPOINT_NAME
from amd.registry.versions import CHECKPOINT_TAG, find_version
from amd.tracking import connect

CACHE = Path(".amd/models")


def pull(uri: str, out: Path | None = None) -> Path:
    """The checkpoint file of a version, downloaded once.

    `out` is the file to write, or a folder for it; without it the file goes to `.amd/models/NAME-VERSION/`. Raises
    UserError for an unknown model, alias or version, and for a download that fails or is damaged.
    """
    client = connect(create=False)
    version = find_version(client, uri)
    if out is None:
        target = CACHE / f"{version.name}-{version.version}" / CHECKPOINT_NAME
    else:
        target = out / CHECKPOINT_NAME if out.is_dir() else out
    if not target.is_file() or sha256(target) != version.tags[CHECKPOINT_TAG]:
        with atomic_path(target) as part, tempfile.TemporaryDirectory(dir=target.parent) as folder:
            file = fetch(client, version, CHECKPOINT_IN_MODEL, Path(folder))
            _check(version, file)
            file.replace(part)
    return target


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
