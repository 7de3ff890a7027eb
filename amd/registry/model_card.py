"""The model card: what a model is, from what, how good by which protocol, and how to use it.

Input: the checkpoint's information, the manifest of its training videos, its scores, the scores of other seeds.
Output: Markdown, below the 5,000 characters that MLflow keeps of a description.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amd.data.tables import HELD_OUT, MANIFEST, read_table
from amd.evaluation.judged import Figures, mean_figures
from amd.models.checkpoint import ModelInfo
from amd.registry.gates import Evidence
from amd.runtime.files import sha256

MANIFEST_TAG = "data.manifest.sha256"
VIDEOS_TAG = "data.videos"
# Label-free is the result; the oracle chooses the segment on the truth and is an upper bound.
COLUMNS = ("label_free_J", "label_free_F", "oracle_J", "oracle_F")
DRAWN = "data/corpus"  # where the pipeline draws its built-in clips

USE = """```python
import mlflow  # MLFLOW_TRACKING_URI says where the registry is; this model needs its requirements.txt, no project

model = mlflow.pyfunc.load_model("{uri}")
result = model.predict(image, params={{"soft": True}})  # uint8 H,W,3 or B,H,W,3
result["mask"], result["soft"]  # uint8 B,H,W, 0 or 255; float32 B,c,H,W
```
Over HTTP (`mlflow models serve`): base64 of pictures or videos in, masks as base64 PNG out.
With the project: `amd segment VIDEO --model {uri} --out DIR [--adapt 100]`"""

LIMITS = """- One object mask per image: several objects become one, and a still object may not be found.
- The object segment was chosen by motion on the training videos; elsewhere another segment may fit better.
- Images are segmented at a short edge of {short_edge}; finer parts are lost.
- Scores hold for the benchmark named above and say little about footage unlike the training videos."""


@dataclass(frozen=True)
class DataFacts:
    """The training videos in numbers."""

    manifest: str  # SHA-256
    videos: int
    rejected: int
    frames: int
    hours: float  # frame folders have no clock and count none
    real: bool = True  # whether some are not the built-in clips
    held_out: int = 0

    def tags(self) -> dict[str, str]:
        """As tags of a model version."""
        return {
            "data.manifest.sha256": self.manifest,
            "data.videos": str(self.videos),
            "data.hours": f"{self.hours:.4f}",
        }


def data_facts(manifest: Path) -> DataFacts:
    """Count what a manifest accepted; UserError when it cannot be read."""
    rows = read_table(manifest, MANIFEST)
    accepted = [row for row in rows if row["status"] == "accepted"]
    return DataFacts(
        sha256(manifest),
        len(accepted),
        sum(row["status"] == "rejected" for row in rows),
        sum(row["frames"] or 0 for row in accepted),
        sum(row["duration_s"] or 0.0 for row in accepted) / 3600,
        not all(Path(row["path"] or "").is_relative_to(DRAWN) for row in accepted),
        sum(row["status"] == HELD_OUT for row in rows),
    )


def model_card(
    name: str,
    info: ModelInfo,
    scores: Mapping[str, Any],
    reason: str,
    data: DataFacts | None = None,
    trainings: Mapping[str, Evidence] | None = None,
    held_out: Mapping[str, Figures] | None = None,
) -> str:
    """Markdown of a model, for people who choose one.

    `scores` is metrics/vos.json, `reason` the gates', `trainings` the evidence of every seed of the same parameters,
    this one's too; `held_out` its figures in each held-out video.
    """
    architecture = info.architecture
    parts = {
        "What": f"Soft masks of {architecture.segments} segments and the object's mask, from one image "
        f"(Appearance-Motion Decomposition, NeurIPS 2021). Backbone {architecture.backbone}, output stride "
        f"{architecture.output_stride}; segment {info.object_segment} is the object.",
        "Data": _data(info.params, data),
        "Supervision": "None: no label was used in training, nor in choosing the object segment.",
        "Scores": f"{score_table('masks', COLUMNS, scores.get('summary', {}))}\n\n{_spread(trainings or {})}",
        "Without labels": _held_out(held_out or {}),
        "Protocol": _protocol(scores),
    }
    return card(name, parts, reason, LIMITS, USE, info.short_edge)


def card(name: str, parts: dict[str, str], reason: str, limits: str, use: str, short_edge: int | None) -> str:
    """The Markdown: the parts by title, and below them the gates' reason, the limits and the use, of any model."""
    parts |= {
        "Gates": f"{reason} (when it was registered; `amd models history {name}` has what came after).",
        "Limits": limits.format(short_edge=f"{short_edge} pixels" if short_edge else "the image's own"),
        "Use": use.format(uri=f"models:/{name}@champion"),
    }
    return f"# {name}\n\n" + "\n\n".join(f"## {title}\n{text}" for title, text in parts.items()) + "\n"


def _data(params: Mapping[str, Any], data: DataFacts | None) -> str:
    text = f"Trained on frame pairs of the videos in `{params.get('data', {}).get('videos', 'unknown')}`"
    if data is None:
        return f"{text}; the manifest was not at hand."
    return (
        f"{text}: {data.videos} videos, {data.frames} frames, {data.hours:.3f} hours (frame folders count none), "
        f"{data.held_out} more held out, {data.rejected} rejected. Manifest SHA-256 `{data.manifest}`."
    )


def score_table(head: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Numbers by row and column, as Markdown."""
    lines = [f"| {head} | " + " | ".join(columns).replace("_", " ") + " |", "|---|" + "---|" * len(columns)]
    for name, row in rows.items():
        numbers = (f"{row[column]:.3f}" if row.get(column) is not None else "none" for column in columns)
        lines.append(f"| {name} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)


def _held_out(held_out: Mapping[str, Figures]) -> str:
    if not held_out:
        return "Not judged: no video was held out."
    figures = mean_figures(held_out.values()).rounded()
    words = ", ".join(f"{name} {'unknown' if value is None else f'{value:.3f}'}" for name, value in figures.items())
    return f"In {len(held_out)} held-out videos: {words} (amd/evaluation/judged.py says what these are)."


def _spread(trainings: Mapping[str, Evidence]) -> str:
    """Mean and standard deviation over seeds."""
    if not all(evidence.benchmark for evidence in trainings.values()):
        return "No benchmark was scored."
    if len(trainings) < 2:
        return "One training: the spread over seeds is not known."
    image = [evidence.image_j for evidence in trainings.values()]
    adapted = [evidence.adapted_j for evidence in trainings.values()]
    return (
        f"Over {len(trainings)} trainings of these parameters (seeds {', '.join(sorted(trainings))}): label-free J "
        f"{_mean_and_deviation(image)} per image, {_mean_and_deviation(adapted)} adapted (mean ± sample deviation)."
    )


def _mean_and_deviation(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"


def _protocol(scores: Mapping[str, Any]) -> str:
    protocol = scores.get("scores", {}).get("image", {}).get("label-free", {}).get("protocol", {})
    return "\n".join(f"- {key}: {value}" for key, value in protocol.items()) or "- not scored"
