"""Registering a model: a checkpoint with its scores becomes a version with evidence, lineage and a model card.

Input: a checkpoint, metrics/vos.json, metrics/pretrain.json, the manifest. Output: a version of the registered model
(amd.registry.packaging) with its evidence as tags, its scores and its card as files; the champion when the gates let
it through (amd.registry.promotion).
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature

from amd import config as params
from amd.evaluation.judged import drift, mean_figures
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.embedding import EmbeddingInfo
from amd.models.loading import open_as
from amd.registry.gates import BENCHMARK_TAG, Evidence, gather_evidence, judge
from amd.registry.held_out import judge_held_out
from amd.registry.model_card import MANIFEST_TAG, DataFacts, data_facts, model_card
from amd.registry.packaging import save_pyfunc
from amd.registry.promotion import champion_evidence, promote_version, verdict_tags
from amd.registry.signature import SEGMENTER
from amd.registry.tracked import log_data, log_model_metrics, show_registered, training_data
from amd.runtime.errors import UserError
from amd.runtime.files import sha256, write_json
from amd.runtime.receipts import fingerprint
from amd.runtime.registered import (
    CHAMPION,
    CHECKPOINT_TAG,
    MAX_DROP_TAG,
    PIPELINE_RUN_TAG,
    REASON_TAG,
    RECIPE_TAG,
    SCORES_NAME,
    SEED_TAG,
    VERDICT_TAG,
    aliases_of,
    our_versions,
)
from amd.runtime.tracking import Run, as_default

TRAINED_BY = ("data", "corpus", "ingest", "shard", "model", "pretrain", "objectness", "predict", "adapt")  # sections
NO_MATTER = {  # keys that say how, not what, is computed
    *("workers", "threads", "num_workers", "runner", "timeout_s", "retries"),
    *("checkpoint_every", "log_every", "pictures_every"),
}
SEEDED = ("pretrain", "adapt")  # whose seeds make another training of the same recipe


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
    checkpoint: Path,
    scores: dict,
    training: dict,
    settings: params.Register,
    run: Run,
    data_hash: str | None = None,
    manifest: Path | None = None,
) -> Registration:
    """Make the checkpoint a version of `settings.name`, and the champion if the gates let it through.

    `scores` is metrics/vos.json, empty where nothing labelled was scored, `training` metrics/pretrain.json; `data_hash`
    see gather_evidence; `manifest` lists the training videos, and those held out, by which the model and the champion
    are judged. A model that the gates refuse is registered too, with the reason as a tag. Raises UserError
    for a checkpoint that cannot be read or has no object segment.
    """
    _, info = open_as(AMD, checkpoint)
    if info.object_segment is None:
        raise UserError(f"{checkpoint}: no object segment is chosen yet; run the objectness stage first")
    client, name = run.client, settings.name
    data = data_facts(manifest) if manifest else None
    ensure_model(client, name, "Object segmenter learnt from unlabeled video (AMD).")
    held_out, before = judge_held_out(client, name, checkpoint, manifest) if manifest else ({}, {})
    real = data is not None and (data.real or "start" in info.lineage)
    evidence = gather_evidence(training, scores, data_hash, real, held_out)
    champion = champion_evidence(client, name, aliases_of(client, name).get(CHAMPION))
    verdict = judge(evidence, champion, settings.max_drop)
    tags = {
        **evidence.tags(),
        **verdict_tags(verdict),
        MAX_DROP_TAG: repr(settings.max_drop),
        CHECKPOINT_TAG: sha256(checkpoint),
        **lineage_tags(run, info, data),
    }
    version = _registered_before(client, name, tags)
    if version is None:
        trainings = trainings_alike(client, name, evidence, tags)
        card = model_card(name, info, scores, verdict.reason, data, trainings, held_out)
        model_id = log_pyfunc(run, checkpoint, card, scores, name)
        log_data(run, _dataset(info.params, data))
        unlabelled = {"held_out": mean_figures(held_out.values()).rounded(), "drift": drift(held_out, before)}
        log_model_metrics(run, model_id, {"loss": evidence.loss, **scores.get("summary", {}), **unlabelled})
        version = create_version(run, name, model_id, tags, card)
    entry, verdict = promote_version(client, version, "the register stage")
    if entry is None and verdict.passed:  # promoted by a run that was interrupted after it
        return Registration(name, str(version.version), True, version.tags[REASON_TAG])
    return Registration(name, str(version.version), entry is not None, verdict.reason)


def create_version(run: Run, name: str, model_id: str, tags: Mapping[str, str], card: str) -> ModelVersion:
    """Make the run's logged model a version of `name`."""
    with as_default(run.client):
        version = run.client.create_model_version(
            name, f"models:/{model_id}", run.id, dict(tags), description=card, model_id=model_id
        )
    show_registered(run, version, model_id)
    return version


def _dataset(values: Mapping[str, Any], data: DataFacts | None) -> Dataset:
    """The training videos as MLflow's dataset; without a manifest they have a name alone."""
    name = values.get("data", {}).get("videos") or "built-in corpus"
    profile = {} if data is None else {"videos": data.videos, "frames": data.frames, "hours": data.hours}
    return training_data(name, data.manifest if data else fingerprint(name), profile)


def _registered_before(client: MlflowClient, name: str, tags: Mapping[str, str]) -> ModelVersion | None:
    """The version that an interrupted run made of the same checkpoint, scores and lineage."""
    same = {key: value for key, value in tags.items() if key not in (VERDICT_TAG, REASON_TAG, PIPELINE_RUN_TAG)}
    found = our_versions(client, name).get(name, [])
    return next((version for version in found if same.items() <= version.tags.items()), None)


def recipe_hash(values: Mapping[str, Any], start: str | None = None) -> str:
    """SHA-256 of the parameters that decide a training and its scores, but for the seeds, and of what it began with."""
    recipe = {
        section: {
            key: value
            for key, value in params.made_with(values, section).items()
            if key not in NO_MATTER and not (section in SEEDED and key == "seed")
        }
        for section in TRAINED_BY
        if section in values
    }
    return fingerprint(recipe | ({"start": start} if start else {}))


def ensure_model(client: MlflowClient, name: str, description: str) -> None:
    """Make a registered model of that name, if there is none."""
    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def lineage_tags(run: Run, info: ModelInfo | EmbeddingInfo, data: DataFacts | None) -> dict[str, str]:
    """Where a version came from: the pipeline's run, its commit, parameters, data, architecture."""
    pipeline = run.parent().id
    tags = run.client.get_run(pipeline).data.tags | run.client.get_run(run.id).data.tags
    kept: dict[str, str] = {key: tags[key] for key in ("git.commit", "git.dirty", "params.sha256") if key in tags}
    kept |= {PIPELINE_RUN_TAG: pipeline, "architecture": json.dumps(info.architecture.to_dict())}
    return kept | recipe_tags(info) | (data.tags() if data else {})


def recipe_tags(info: ModelInfo | EmbeddingInfo) -> dict[str, str]:
    """By which trainings that differ in their seeds alone are found."""
    return {
        RECIPE_TAG: recipe_hash(info.params, info.lineage.get("start")),
        SEED_TAG: str(info.params.get("pretrain", {}).get("seed")),
    }


def trainings_alike(
    client: MlflowClient, name: str, evidence: Evidence, tags: Mapping[str, str]
) -> dict[str, Evidence]:
    """The scores of every seed of this recipe, on these videos and this benchmark; the newest of each seed.

    `tags` are of the training whose scores `evidence` is: `recipe_tags`, and those of its data and its evidence.
    """
    found = {}
    for version in our_versions(client, name).get(name, []):
        same = all(version.tags.get(key) == tags.get(key) for key in (RECIPE_TAG, MANIFEST_TAG, BENCHMARK_TAG))
        other = Evidence.from_tags(version.tags)
        if same and other is not None:
            found[version.tags.get(SEED_TAG, "unknown")] = other
    return found | {tags[SEED_TAG]: evidence}


def log_pyfunc(
    run: Run, checkpoint: Path, card: str, scores: dict, name: str, signature: ModelSignature = SEGMENTER
) -> str:
    """Store the pyfunc as a logged model of the run; its id. Through the client, past MLflow's global state."""
    experiment = run.client.get_run(run.id).info.experiment_id
    logged = run.client.create_logged_model(experiment, name, source_run_id=run.id, model_type="segmentation")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        identity: dict[str, Any] = {"run_id": run.id, "model_id": logged.model_id, "model_uuid": logged.model_id}
        save_pyfunc(checkpoint, model, Model(logged.artifact_location, **identity), signature)
        (model / "model_card.md").write_text(card)
        write_json(model / SCORES_NAME, scores)
        run.client.log_model_artifacts(logged.model_id, str(model))
    run.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    run.client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id
