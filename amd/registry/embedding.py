"""Registering an instance embedding: a scored checkpoint becomes a version that says what labels it learned from.

Input: a checkpoint with its scores on held-out images. Output: a version of the registered model with its evidence
as tags and a model card; the champion when the gates let it through (amd.registry.gates.judge_embedding).
"""

import json
from pathlib import Path
from typing import Any

from amd.models.embedding import EmbeddingInfo, EmbeddingNetwork
from amd.models.loading import open_as
from amd.registry.gates import BENCHMARK_TAG, PAIR_ACCURACY_TAG, judge_embedding
from amd.registry.model_card import card, score_table
from amd.registry.promotion import promote_version, verdict_tags
from amd.registry.registration import Registration, create_version, ensure_model, lineage_tags, log_pyfunc
from amd.registry.signature import EMBEDDING
from amd.registry.tracked import log_data, log_model_metrics, training_data
from amd.runtime.errors import UserError
from amd.runtime.files import sha256
from amd.runtime.receipts import fingerprint
from amd.runtime.registered import CHAMPION, CHECKPOINT_TAG, MAX_DROP_TAG, SEED_TAG, aliases_of
from amd.runtime.tracking import Run

DESCRIPTION = "Instance embedding learnt from images with instance masks (Instance Embedding Transfer)."
SUPERVISION_TAG = "supervision"

USE = """```
amd segment VIDEO --method transfer --model {uri} --out DIR --overlay
```
Alone it embeds images: `mlflow.pyfunc.load_model("{uri}").predict(image)`, image uint8 H,W,3, gives "embedding"
float32 1,64,h,w and "objectness" float32 1,h,w."""

LIMITS = """- It tells apart what looks like the objects that it was trained on; other videos need other images.
- A video's masks come from its embeddings, objectness and optical flow together: one image has no motion.
- Images are embedded at a short edge of {short_edge}, a cell of {stride} x {stride} pixels at a time."""


def register_embedding(checkpoint: Path, name: str, max_drop: float, run: Run) -> Registration:
    """Make the checkpoint a version of `name`, and the champion if the gates let it through.

    Raises UserError for a checkpoint that cannot be read or has no scores.
    """
    _, info = open_as(EmbeddingNetwork, checkpoint)
    if not info.scores:
        raise UserError(f"{checkpoint}: has no scores yet; run the stage embedding_score first")
    client = run.client
    ensure_model(client, name, DESCRIPTION)
    evidence = _evidence(info)
    holder = aliases_of(client, name).get(CHAMPION)
    champion = (holder, client.get_model_version(name, holder).tags) if holder else None
    verdict = judge_embedding(evidence, champion, max_drop)
    tags = {
        **lineage_tags(run, info, None),
        **evidence,
        **verdict_tags(verdict),
        SEED_TAG: str(info.params.get("embedding", {}).get("seed")),
        MAX_DROP_TAG: repr(max_drop),
        CHECKPOINT_TAG: sha256(checkpoint),
    }
    card = embedding_card(name, info, verdict.reason)
    model_id = log_pyfunc(run, checkpoint, card, info.scores, name, EMBEDDING)
    sets = info.supervision.get("sets", {})  # folders of images, with what was found in each
    log_data(run, *(training_data(root, fingerprint([root, found]), found) for root, found in sets.items()))
    log_model_metrics(run, model_id, next(iter(info.scores.values())))
    version = create_version(run, name, model_id, tags, card)
    entry, verdict = promote_version(client, version, "the stage embedding_register")
    return Registration(name, str(version.version), entry is not None, verdict.reason)


def embedding_card(name: str, info: EmbeddingInfo, reason: str) -> str:
    """Markdown of an instance embedding, for people who choose one; `reason` is the gates'."""
    architecture = info.architecture
    parts = {
        "What": f"An embedding of 64 numbers and an objectness per pixel (Instance Embedding Transfer, CVPR 2018). "
        f"Backbone {architecture.backbone}, output stride {architecture.output_stride}; classes: "
        f"{', '.join(architecture.classes)}.",
        "Supervision": _supervision(info.supervision),
        "Scores": _scores(info.scores),
    }
    return card(name, parts, reason, LIMITS.replace("{stride}", str(architecture.output_stride)), USE, info.short_edge)


def _evidence(info: EmbeddingInfo) -> dict[str, str]:
    """What the gates look at: the accuracy on the first folder's held-out images, and what that was measured on."""
    root, first = next(iter(info.scores.items()))
    return {
        PAIR_ACCURACY_TAG: repr(first["pair_accuracy"] if first["pair_accuracy"] is not None else float("nan")),
        "scored_on": f"{root}: {first['images']} held-out images",
        BENCHMARK_TAG: fingerprint([root, first["images"], first["protocol"]]),
        SUPERVISION_TAG: json.dumps(info.supervision, sort_keys=True),
    }


def _supervision(supervision: dict[str, Any]) -> str:
    lines = [
        f"- `{root}`: {found['images']} images with class masks, {found['with_instance_masks']} with instance masks"
        for root, found in supervision.get("sets", {}).items()
    ]
    return "\n".join([*lines, f"- The backbone starts from {supervision.get('start', 'unknown weights')}."])


def _scores(scores: dict[str, dict]) -> str:
    """A row per folder, and the protocol."""
    columns = ("pair_accuracy", "same_instance", "different_instance", "different_objects", "objectness_iou")
    rows = {f"{root} ({row['images']})": row for root, row in scores.items()}
    table = score_table("held-out images of", columns, rows)
    return f"{table}\n\nProtocol: {next(iter(scores.values()))['protocol']['pairs']}."
