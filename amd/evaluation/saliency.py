"""Zero-shot saliency: in, images with masks and a model or saved maps; out, F-beta and MAE with their protocol.

The map is the soft mask of the object segment, chosen without labels. Saved maps are <name>.png, grey 0 to 255.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amd.data.image_sets import open_images
from amd.data.images import read_image, read_labels
from amd.data.sequences import BenchmarkFrame, read_truth
from amd.errors import UserError
from amd.files import write_json
from amd.loading import resolve_model
from amd.model.inference import soft_masks
from amd.progress import progress
from amd.saliency_metrics import BETA_SQUARED, f_beta, mae
from amd.segmenter import object_segment

PUBLISHED = {"F": 0.602, "MAE": 0.13, "source": "AMD on the 5,019 test images of DUTS"}
COMPARED = "adaptive"  # as the DUTS paper, whose tables the published rows continue
SaliencyMap = Callable[[BenchmarkFrame], np.ndarray]


def score_saliency(frames: list[BenchmarkFrame], saliency: SaliencyMap, origin: str) -> dict[str, Any]:
    """Score `saliency(frame)`, float H,W in 0 to 1, of every image.

    Returns {"protocol", "F": {"adaptive", "max", "mean"}, "MAE", "images": {NAME: {"F_adaptive", "MAE"}}}. The curve
    is averaged over images before its maximum and mean are taken. Raises UserError for maps of another size and for
    a truth without object.
    """
    curves, images = [], {}
    for frame in progress(frames, "saliency", unit="images"):
        values, truth = saliency(frame), read_truth(frame)
        if values.shape != truth.shape:
            size, wanted = (f"{shape[1]}x{shape[0]}" for shape in (values.shape, truth.shape))
            raise UserError(f"{frame.truth}: the truth has {wanted} pixels, the map {size}; maps have the image's size")
        if not truth.any():
            raise UserError(f"{frame.truth}: an empty truth, for which F has no meaning; remove the image")
        f = f_beta(values, truth)
        curves.append(f.curve)
        images[frame.name] = {"F_adaptive": f.adaptive, "MAE": mae(values, truth)}
    curve = np.mean(curves, axis=0)
    adaptive = float(np.mean([image["F_adaptive"] for image in images.values()]))
    return {
        "protocol": _protocol(len(frames), origin),
        "F": {"adaptive": adaptive, "max": float(curve.max()), "mean": float(curve.mean())},
        "MAE": float(np.mean([image["MAE"] for image in images.values()])),
        "images": images,
    }


def model_maps(uri: str) -> SaliencyMap:
    """The object segment's soft mask of a model (see amd.loading.resolve_model)."""
    model, info = resolve_model(uri)
    chosen = object_segment(info)

    def saliency(frame: BenchmarkFrame) -> np.ndarray:
        masks = soft_masks(model, torch.from_numpy(read_image(frame.image)), info.short_edge)
        return masks[chosen].clamp(0, 1).cpu().numpy()

    return saliency


def saved_maps(folder: Path) -> SaliencyMap:
    """Maps that anything produced; a missing one is a UserError that names it."""
    return lambda frame: read_labels(folder / f"{frame.name}.png") / 255


def run_saliency(dataset: str, root: Path, model: str | None, predictions: Path | None, json: Path | None) -> None:
    """Score a model or saved maps, print the numbers, and write the JSON when it is wanted."""
    frames = open_images(dataset, root)
    if predictions is None:
        scores = score_saliency(frames, model_maps(model), "label-free: soft mask of the segment chosen without labels")
    else:
        scores = score_saliency(frames, saved_maps(predictions), "maps as given")
    scores["protocol"] = {"dataset": dataset} | scores["protocol"]
    print(format_saliency(scores))
    if json:
        write_json(json, scores)


def format_saliency(scores: dict[str, Any]) -> str:
    """The scores as text: F three ways, the compared one first, MAE, the protocol."""
    f = scores["F"]
    numbers = f"F {f['adaptive']:.3f} (adaptive), {f['max']:.3f} (max), {f['mean']:.3f} (mean); MAE {scores['MAE']:.3f}"
    return "\n".join([numbers, *(f"{key}: {value}" for key, value in scores["protocol"].items())])


def _protocol(images: int, origin: str) -> dict[str, Any]:
    return {
        "images": images,
        "maps": origin,
        "measures": f"F-beta with beta^2 = {BETA_SQUARED}, and MAE of the soft map against the 0/1 mask",
        "compared": f"F {COMPARED}: threshold twice the map's mean; max and mean are of the curve over 256 thresholds",
        "averaging": "mean over images; of the curve before its maximum is taken",
        "post_processing": "none; maps are not stretched to 0 and 1",
        "supervision": "none in scoring; of the three F, the truth chooses the threshold of max F alone",
        "published": PUBLISHED,
    }
