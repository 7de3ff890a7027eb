"""Zero-shot saliency.

Input: images with masks and a model or saved maps. Output: F-beta and MAE with their protocol.

The map is the soft mask of the object segment, chosen without labels. Saved maps are <name>.png, grey 0 to 255. The
images are those of a set (DUTS, a folder), or every frame that counts of a video benchmark, named <sequence>/<frame>.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from amd.data.benchmarks.davis import READERS, open_benchmark
from amd.data.benchmarks.image_sets import open_images
from amd.data.benchmarks.predictions import size_error
from amd.data.benchmarks.sequences import BenchmarkFrame, read_truth
from amd.data.images import read_image
from amd.draw.colours import grey
from amd.draw.sheet import write_sheet
from amd.evaluation.metrics import BETA_SQUARED, f_beta, mae
from amd.evaluation.published import FULL, SALIENCY, note
from amd.evaluation.semantic import saved_labels
from amd.models.amd import AMD
from amd.models.checkpoint import object_segment
from amd.models.inference import soft_masks
from amd.models.loading import open_as
from amd.runtime.errors import UserError
from amd.runtime.files import write_json
from amd.runtime.progress import progress

PUBLISHED = {
    "source": "the paper's table 1: all 5,019 test images of DUTS",
    "methods": {method: {"F": f, "MAE": error} for method, (f, error) in SALIENCY.items()},
}
DUTS_TEST = 5019  # images
COMPARED = "adaptive"  # the paper does not say which of the three its F is; this one uses no truth
SaliencyMap = Callable[[BenchmarkFrame], np.ndarray]


def open_saliency(dataset: str, root: Path | str) -> list[BenchmarkFrame]:
    """The images with masks of a set or of a video benchmark; UserError for another name or layout."""
    if dataset in ("duts", "folder"):
        return open_images(dataset, root)
    if dataset not in READERS:
        raise UserError(f"{dataset}: no images with masks; there are duts, folder, {', '.join(sorted(READERS))}")
    sequences = open_benchmark(dataset, root)
    return [
        replace(frame, name=f"{sequence.name}/{frame.name}")
        for sequence in sequences
        for frame in sequence.scored_frames
    ]


def score_saliency(frames: list[BenchmarkFrame], saliency: SaliencyMap, origin: str) -> dict[str, Any]:
    """Score `saliency(frame)`, float H,W in 0 to 1, of every image.

    Returns {"protocol", "published", "F": {"adaptive", "max", "mean"}, "MAE", "images": {NAME: {"F_adaptive", "MAE"}}}.
    The curve is averaged over images before its maximum and mean are taken. An image without object has no F (None) and
    counts in MAE alone. Raises UserError for maps of another size, and when no image has an object.
    """
    curves, images = [], {}
    for frame in progress(frames, "saliency", unit="images"):
        values, truth = saliency(frame), read_truth(frame)
        if values.shape != truth.shape:
            raise size_error(frame, f"the map of {frame.name}", values.shape, truth.shape)
        f = f_beta(values, truth) if truth.any() else None
        if f:
            curves.append(f.curve)
        images[frame.name] = {"F_adaptive": f.adaptive if f else None, "MAE": mae(values, truth)}
    if not curves:
        folder = cast(Path, frames[0].truth).parent
        raise UserError(f"{folder}: no truth has an object, so F has no meaning; check the masks")
    curve = np.mean(curves, axis=0)
    adaptive = float(np.mean([image["F_adaptive"] for image in images.values() if image["F_adaptive"] is not None]))
    return {
        "protocol": _protocol(len(frames), len(frames) - len(curves), origin),
        "published": dict(PUBLISHED),
        "F": {"adaptive": adaptive, "max": float(curve.max()), "mean": float(curve.mean())},
        "MAE": float(np.mean([image["MAE"] for image in images.values()])),
        "images": images,
    }


def model_maps(uri: str) -> tuple[SaliencyMap, str]:
    """The object segment's soft mask of a model (see amd.models.loading), and how it came to be."""
    model, info = open_as(AMD, uri, "auto")
    chosen = object_segment(info)

    def saliency(frame: BenchmarkFrame) -> np.ndarray:
        masks = soft_masks(model, torch.from_numpy(read_image(frame.image)), info.short_edge)
        return masks[chosen].clamp(0, 1).cpu().numpy()

    return saliency, "label-free: soft mask of the segment chosen without labels"


def saved_maps(folder: Path) -> SaliencyMap:
    """Maps that anything produced; UserError for one that is missing, and for masks of 0 and 1."""
    read = saved_labels(folder)

    def saliency(frame: BenchmarkFrame) -> np.ndarray:
        if (values := read(frame)).max() == 1:
            path = folder / f"{frame.name}.png"
            raise UserError(f"{path}: no value above 1, where a map is grey from 0 to 255; write 255 for the object")
        return values / 255

    return saliency


def evaluate_saliency(
    dataset: str, root: Path | str, maps: SaliencyMap, origin: str, pictures: Path | None
) -> dict[str, Any]:
    """Score the maps of a dataset, and draw some of them into the PNG `pictures` when it is wanted."""
    frames = open_saliency(dataset, root)
    scores = score_saliency(frames, maps, origin)
    scores["protocol"] = {"dataset": dataset} | scores["protocol"]
    scores["published"] |= note(dataset == "duts" and len(frames) == DUTS_TEST, f"{len(frames)} images of {dataset}")
    if pictures:
        write_saliency_sheet(pictures, frames, maps, {name: image["MAE"] for name, image in scores["images"].items()})
    return scores


def run_saliency(
    dataset: str,
    root: Path,
    model: str | None,
    predictions: Path | None,
    json_path: Path | None,
    pictures: Path | None = None,
) -> None:
    """Score a model or saved maps, print the numbers, and write what is asked for."""
    maps, origin = model_maps(cast(str, model)) if predictions is None else (saved_maps(predictions), "as given")
    scores = evaluate_saliency(dataset, root, maps, origin, pictures)
    print(format_saliency(scores))
    if json_path:
        write_json(json_path, scores)


def format_saliency(scores: dict[str, Any]) -> str:
    """The scores as text: F three ways, the compared one first, MAE, what was published, the protocol."""
    f, published = scores["F"], scores["published"]
    numbers = f"F {f['adaptive']:.3f} (adaptive), {f['max']:.3f} (max), {f['mean']:.3f} (mean); MAE {scores['MAE']:.3f}"
    rows = ", ".join(f"{method} {row['F']:.3f}/{row['MAE']:.2f}" for method, row in published["methods"].items())
    beside = f"{FULL} ({published['source']}), F/MAE: {rows}"
    beside += f"\n{published['note']}" if "note" in published else ""
    return "\n".join([numbers, beside, *(f"{key}: {value}" for key, value in scores["protocol"].items())])


def _protocol(images: int, without_object: int, origin: str) -> dict[str, Any]:
    return {
        "images": images,
        "without_object": f"{without_object}, left out of F; they count in MAE",
        "maps": origin,
        "measures": f"F-beta with beta^2 = {BETA_SQUARED}, and MAE of the soft map against the 0/1 mask",
        "compared": f"F {COMPARED}: threshold twice the map's mean; max and mean are of the curve over 256 thresholds. "
        "The paper does not say which of the three its 60.2 is",
        "averaging": "mean over images; of the curve before its maximum is taken",
        "post_processing": "none; maps are not stretched to 0 and 1",
        "supervision": "none in scoring; of the three F, the truth chooses the threshold of max F alone",
    }


PICTURED = 8  # images


def write_saliency_sheet(
    path: Path | str,
    frames: Sequence[BenchmarkFrame],
    maps: Callable[[BenchmarkFrame], np.ndarray],
    errors: Mapping[str, float],
) -> None:
    """A PNG with a row per image, evenly over the order of `errors` (MAE by name), the largest first."""
    ranked = sorted(frames, key=lambda frame: -errors[frame.name])
    places = np.linspace(0, len(ranked) - 1, min(PICTURED, len(ranked))).round().astype(int)
    rows = []
    for frame in (ranked[place] for place in places):
        rows.append([read_image(frame.image), grey(maps(frame)), grey(read_truth(frame))])
    write_sheet(path, ("image", "map, worst to best MAE", "truth"), rows)
