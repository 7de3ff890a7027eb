"""The model registry: versions of a model in MLflow, which of them is the champion, and getting one back.

Enters: a checkpoint with its scores. Leaves: a version of the registered model, an MLflow pyfunc whose code and
checkpoint travel with it (amd.pyfunc), with its evidence as tags and a model card; the alias `champion` when the
gates (amd.gates) let it through. `pull` turns `models:/NAME@ALIAS` into a checkpoint file again.
"""

import json
import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from amd import params, pyfunc
from amd.checkpoint import ModelInfo, load_checkpoint
from amd.errors import UserError
from amd.files import atomic_path, raise_if_disk_full, sha256
from amd.gates import Champion, Evidence, Verdict, gather_evidence, judge
from amd.model_card import model_card
from amd.tracking import Run, connect

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it counts files, copied ones too

CHAMPION = "champion"
CACHE = Path(".amd/models")
CHECKPOINT_NAME = "model.safetensors"
CHECKPOINT_IN_MODEL = f"artifacts/{CHECKPOINT_NAME}"
CHECKPOINT_TAG = "checkpoint.sha256"  # marks the versions that this project made
MAX_DROP_TAG = "gate.max_drop"
VERDICT_TAG = "gate.verdict"
REASON_TAG = "gate.reason"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@'\"]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True)
class Registration:
    """A version of a registered model, and what the gates said to it."""

    name: str
    version: str
    promoted: bool
    reason: str

    @property
    def uri(self) -> str:
        """The version's address, which `pull` and `mlflow.pyfunc.load_model` take."""
        return f"models:/{self.name}/{self.version}"


def register(
    checkpoint: Path, scores: dict, training: dict, settings: params.Register, run: Run, data_hash: str | None = None
) -> Registration:
    """Make the checkpoint a version of `settings.name`, and the champion if the gates let it through.

    `scores` is metrics/vos.json, `training` metrics/pretrain.json; `data_hash` see gather_evidence. A model that
    the gates refuse is registered too, with the reason as a tag. Raises UserError for a checkpoint that cannot be
    read or has no object segment.
    """
    _, info = load_checkpoint(checkpoint)
    if info.object_segment is None:
        raise UserError(f"{checkpoint}: no object segment is chosen yet; run the objectness stage first")
    evidence = gather_evidence(training, scores, data_hash)
    _ensure_model(run.client, settings.name)
    verdict = judge(evidence, _champion(run.client, settings.name), settings.max_drop)
    card = model_card(settings.name, info, scores, verdict.reason)
    model_id = _log_pyfunc(run, checkpoint, card, settings.name)
    tags = {
        **evidence.tags(),
        **_verdict_tags(verdict),
        MAX_DROP_TAG: repr(settings.max_drop),
        CHECKPOINT_TAG: sha256(checkpoint),
        **_lineage_tags(run, info),
    }
    version = run.client.create_model_version(
        settings.name, f"models:/{model_id}", run.id, tags, description=card, model_id=model_id
    )
    return _settle(run.client, version, verdict)


def promote(name: str, version: str) -> Registration:
    """Move the alias to a version that passes the gates against the present champion.

    Raises UserError with the reason when it does not pass, or for an unknown model or version.
    """
    client = connect(create=False)
    candidate = _find(client, f"models:/{name}/{version}")
    champion = _champion(client, name)
    if champion is not None and champion.version == str(candidate.version):
        return Registration(name, champion.version, True, "it is the champion already")
    evidence = Evidence.from_tags(candidate.tags)
    if evidence is None:
        raise UserError(f"{name} version {version}: has no scores to judge by; register it with the register stage")
    verdict = judge(evidence, champion, float(candidate.tags[MAX_DROP_TAG]))
    if not verdict.passed:
        raise UserError(f"{name} version {version}: not promoted: {verdict.reason}")
    for key, value in _verdict_tags(verdict).items():
        client.set_model_version_tag(name, candidate.version, key, value)
    return _settle(client, candidate, verdict)


def list_models() -> None:
    """Print every version that this project registered: aliases, label-free J, loss, what the gates said."""
    client = connect(create=False)
    by_model = _our_versions(client)
    if not by_model:
        print("no registered models; the register stage makes one")
    for name, versions in sorted(by_model.items()):
        aliases = _aliases(client, name)
        for version in reversed(versions):
            print("\n".join(_describe(version, aliases)))


def pull(uri: str, out: Path | None = None) -> Path:
    """The checkpoint file of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, downloaded once.

    `out` is the file to write, or a folder for it; without it the file goes to `.amd/models/NAME-VERSION/`. Raises
    UserError for an unknown model, alias or version, and for a download that fails or is damaged.
    """
    client = connect(create=False)
    version = _find(client, uri)
    if out is None:
        target = CACHE / f"{version.name}-{version.version}" / CHECKPOINT_NAME
    else:
        target = out / CHECKPOINT_NAME if out.is_dir() else out
    if not target.is_file() or sha256(target) != version.tags[CHECKPOINT_TAG]:
        _download(client, version, target)
    return target


def _ensure_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="Object segmenter learnt from unlabeled video (AMD).")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _champion(client: MlflowClient, name: str) -> Champion | None:
    holder = _aliases(client, name).get(CHAMPION)
    if holder is None:
        return None
    return Champion(holder, Evidence.from_tags(client.get_model_version(name, holder).tags))


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """The version of every alias."""
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def _settle(client: MlflowClient, version: ModelVersion, verdict: Verdict) -> Registration:
    if verdict.passed:
        client.set_registered_model_alias(version.name, CHAMPION, version.version)
    return Registration(version.name, str(version.version), verdict.passed, verdict.reason)


def _verdict_tags(verdict: Verdict) -> dict[str, str]:
    return {VERDICT_TAG: "passed" if verdict.passed else "refused", REASON_TAG: verdict.reason}


def _lineage_tags(run: Run, info: ModelInfo) -> dict[str, str]:
    """Where a version came from: the pipeline's run, its commit, the parameters' hash, the architecture."""
    tags = run.client.get_run(run.id).data.tags
    pipeline = tags.get(MLFLOW_PARENT_RUN_ID, run.id)
    tags = run.client.get_run(pipeline).data.tags | tags
    kept = {key: tags[key] for key in ("git.commit", "git.dirty", "params.sha256") if key in tags}
    return {**kept, "pipeline.run": pipeline, "architecture": json.dumps(info.architecture.to_dict())}


def _log_pyfunc(run: Run, checkpoint: Path, card: str, name: str) -> str:
    """Store the pyfunc as a logged model of the run; its id. Through the client, past MLflow's global state."""
    experiment = run.client.get_run(run.id).info.experiment_id
    logged = run.client.create_logged_model(experiment, name, source_run_id=run.id, model_type="segmentation")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        identity = {"run_id": run.id, "model_id": logged.model_id, "model_uuid": logged.model_id}
        save_pyfunc(checkpoint, model, Model(logged.artifact_location, **identity))
        (model / "model_card.md").write_text(card)
        run.client.log_model_artifacts(logged.model_id, str(model))
    run.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    run.client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id


def save_pyfunc(checkpoint: Path, folder: Path, description: Model | None = None) -> None:
    """Write the model that travels to a new folder: checkpoint, code, and the requirements as installed here."""
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)  # it misses a signature; sizes may differ on purpose
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        shutil.copyfile(checkpoint, stage / CHECKPOINT_NAME)
        copy_travelling_code(stage / "code")
        mlflow.pyfunc.save_model(
            folder,
            python_model=pyfunc.__file__,
            artifacts={"checkpoint": str(stage / CHECKPOINT_NAME), "code": str(stage / "code")},
            model_config={"device": "cpu"},
            pip_requirements=[_requirement(package) for package in pyfunc.REQUIREMENTS],
            mlflow_model=description,
        )


def copy_travelling_code(folder: Path) -> None:
    """Copy what a registered model imports of this package to `folder`/amd."""
    package = Path(pyfunc.__file__).parent
    (folder / "amd").mkdir(parents=True)
    for name in pyfunc.TRAVELLING:
        source, target = package / name, folder / "amd" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)


def _requirement(package: str) -> str:
    """The installed version, without a build's suffix (2.13.0+cpu), which no package index has."""
    return f"{package}=={installed_version(package).partition('+')[0]}"


def _our_versions(client: MlflowClient) -> dict[str, list[ModelVersion]]:
    """The versions that this project made, by model, oldest first; a server may hold others' too."""
    versions = [version for version in client.search_model_versions() if CHECKPOINT_TAG in version.tags]
    by_model: dict[str, list[ModelVersion]] = {}
    for version in sorted(versions, key=lambda each: int(each.version)):
        by_model.setdefault(version.name, []).append(version)
    return by_model


def _find(client: MlflowClient, uri: str) -> ModelVersion:
    """The version that a URI names; UserError says what there is instead."""
    match = MODEL_URI.fullmatch(uri)
    if match is None:
        raise UserError(f"{uri}: not a model's address; write models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match["name"], match["alias"], match["version"]
    by_model = _our_versions(client)
    if name not in by_model:
        there = ", ".join(sorted(by_model)) or "none"
        raise UserError(f"{uri}: no model {name!r} in the registry; registered: {there}")
    aliases = _aliases(client, name)
    wanted = aliases.get(alias) if alias else number
    for version in by_model[name]:
        if str(version.version) == wanted:
            return version
    what = f"alias {alias!r}" if alias else f"version {number}"
    versions = ", ".join(str(version.version) for version in by_model[name])
    held = ", ".join(f"{alias} (version {version})" for alias, version in sorted(aliases.items())) or "none"
    raise UserError(f"{uri}: {name!r} has no {what}; versions: {versions}; aliases: {held}")


def _describe(version: ModelVersion, aliases: dict[str, str]) -> list[str]:
    held = [f"@{alias}" for alias, holder in sorted(aliases.items()) if holder == str(version.version)]
    lines = [" ".join([version.name, "version", str(version.version), *held])]
    if (evidence := Evidence.from_tags(version.tags)) is not None:
        scores = f"label-free J {evidence.image_j:.3f} per image, {evidence.adapted_j:.3f} adapted"
        lines.append(f"  {scores}; loss {evidence.loss:.4g}; {evidence.scored_on}")
    reason = version.tags.get(REASON_TAG, "no reason recorded")
    return [*lines, f"  gates {version.tags.get(VERDICT_TAG, 'unknown')}: {reason}"]


def _download(client: MlflowClient, version: ModelVersion, target: Path) -> None:
    what = f"models:/{version.name}/{version.version}"
    with atomic_path(target) as part, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            location = client.get_model_version_download_uri(version.name, version.version)
            file = download_artifacts(
                f"{location}/{CHECKPOINT_IN_MODEL}", dst_path=folder, tracking_uri=client.tracking_uri
            )
        except (MlflowException, OSError) as error:
            if isinstance(error, OSError):
                raise_if_disk_full(error, target)
            raise UserError(f"{what}: its files cannot be had ({str(error).splitlines()[0]})") from None
        if sha256(file) != version.tags[CHECKPOINT_TAG]:
            raise UserError(f"{what}: the checkpoint at {location} is not the one that was registered; restore it")
        Path(file).replace(part)
