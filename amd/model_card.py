"""The model card: what a model is, from what, how good by which protocol, and how to use it. In: the checkpoint's
information and its scores; out: Markdown, below the 5,000 characters that MLflow keeps of a description."""

from typing import Any

from amd.checkpoint import ModelInfo

USE = """```python
import mlflow  # MLFLOW_TRACKING_URI says where the registry is; this model needs its requirements.txt, no project

model = mlflow.pyfunc.load_model("{uri}")
result = model.predict(image)  # uint8 H,W,3 or B,H,W,3, or a list of images of any sizes
result["mask"]  # uint8 B,H,W, 0 or 255
result["soft"]  # float32 B,c,H,W
```
With the project: `amd segment VIDEO --model {uri} --out DIR [--adapt 100]`"""

LIMITS = """- One object mask per image: several objects become one, and a still object may not be found.
- The object segment was chosen by motion on the training videos; elsewhere another segment may fit better.
- Images are segmented at a short edge of {short_edge}; finer parts are lost.
- Scores hold for the benchmark named above and say little about footage unlike the training videos."""


def model_card(name: str, info: ModelInfo, scores: dict, reason: str) -> str:
    """Markdown of a model, for people who choose one; `reason` is the gates'."""
    architecture = info.architecture
    parts = {
        "What": f"Soft masks of {architecture.segments} segments and the object's mask, from one image "
        f"(Appearance-Motion Decomposition, NeurIPS 2021). Backbone {architecture.backbone}, output stride "
        f"{architecture.output_stride}; segment {info.object_segment} is the object.",
        "Data": f"Trained on frame pairs of the videos in `{_videos(info.params)}`.",
        "Supervision": "None: no label was used in training, nor in choosing the object segment.",
        "Scores": _score_table(scores["summary"]),
        "Protocol": _bullets(scores["scores"]["image"]["label-free"]["protocol"]),
        "Gates": f"{reason}.",
        "Limits": LIMITS.format(short_edge=f"{info.short_edge} pixels" if info.short_edge else "the image's own"),
        "Use": USE.format(uri=f"models:/{name}@champion"),
    }
    return f"# {name}\n\n" + "\n\n".join(f"## {title}\n{text}" for title, text in parts.items()) + "\n"


def _videos(params: dict[str, Any]) -> str:
    return params.get("data", {}).get("videos", "unknown")


def _score_table(summary: dict[str, dict]) -> str:
    """Label-free is the result; the oracle chooses the segment on the truth and is an upper bound."""
    columns = ("label_free_J", "label_free_F", "oracle_J", "oracle_F")
    lines = ["| masks | " + " | ".join(columns).replace("_", " ") + " |", "|---|" + "---|" * len(columns)]
    for prediction, row in summary.items():
        lines.append(f"| {prediction} | " + " | ".join(f"{row[column]:.3f}" for column in columns) + " |")
    return "\n".join(lines)


def _bullets(values: dict[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in values.items())
