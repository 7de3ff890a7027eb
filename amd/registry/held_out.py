"""A new model and the champion judged by the same held-out videos, side by side.

Input: a checkpoint, the manifest. Output: both models' figures; the champion's go to its tags, too, where promotion
finds them.
"""

import sys
from pathlib import Path

from mlflow import MlflowClient

from amd.data.ingest.held_out import held_out
from amd.evaluation.judged import Figures
from amd.models.amd import AMD
from amd.models.loading import open_as
from amd.registry.gates import HELD_OUT_TAG, figures_tag
from amd.runtime.errors import UserError
from amd.runtime.registered import CHAMPION, aliases_of

VIDEOS = 40  # at most: minutes on two cores
NEW = "new"


def judge_held_out(
    client: MlflowClient, name: str, checkpoint: Path, manifest: Path
) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """The checkpoint's figures and the champion's, by video; none where no video is held out.

    A champion whose files cannot be had is named on stderr, and keeps the figures that it has.
    """
    rows = held_out(manifest, VIDEOS)
    if not rows:
        return {}, {}
    from amd.evaluation.label_free import judge_models  # here: decoders and flow, which no other registering needs

    models, champion = {NEW: open_as(AMD, checkpoint)}, aliases_of(client, name).get(CHAMPION)
    if champion is not None:
        try:
            models[CHAMPION] = open_as(AMD, f"models:/{name}/{champion}")
        except UserError as error:
            print(f"held out: the champion is not judged: {error}", file=sys.stderr)
    found = judge_models(models, rows)
    if champion is not None and found.get(CHAMPION):
        client.set_model_version_tag(name, champion, HELD_OUT_TAG, figures_tag(found[CHAMPION]))
    return found[NEW], found.get(CHAMPION, {})
