"""How well embeddings tell instances apart on images that were not trained on, and objectness objects from the rest.

Input: a network and images with instances. Output: rates, with the protocol that they were measured by.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amd.data.benchmarks.instances import VOID, InstanceImage, Labelled, read_instances
from amd.data.labelled.instance_reader import owners_at, sample_points
from amd.models.embedding import EmbeddingNetwork, embed_image
from amd.runtime.progress import progress
from amd.training.embedding import at_points
from amd.training.pair_loss import pair_weights, similarity, squared_distances

POINTS = 512  # of an image
SEED = 0
PROTOCOL = (
    "per image the same number of pixels of every instance, background being one; all pairs of different pixels, of "
    "one class without instance masks only where it is known whether they are one object; a pair counts as one "
    "instance where eq. 1 is at least 0.5; rate of the pairs within one instance and rate of the pairs of two, each "
    "instance or pair of instances counting alike in an image and images alike; the accuracy is the mean of both rates"
)


def score_embedding(network: EmbeddingNetwork, images: Iterable[InstanceImage], short_edge: int | None) -> dict:
    """Pair accuracy, its parts, and the IoU of objectness above 0.5 with all objects.

    An image that has no pair of a kind is left out of that kind's rate; a rate without images is None.
    """
    rows = [_image_rates(network, read_instances(item), short_edge) for item in progress(list(images), "embedding")]
    means = {name: _mean([row[name] for row in rows]) for name in ("same", "different", "different_objects", "iou")}
    both = means["same"], means["different"]
    return {
        "pair_accuracy": None if None in both else sum(both) / 2,
        "same_instance": means["same"],
        "different_instance": means["different"],
        "different_objects": means["different_objects"],  # pairs of two objects alone, without background
        "objectness_iou": means["iou"],
        "images": len(rows),
        "protocol": {"pairs": PROTOCOL, "points": POINTS, "seed": SEED, "short_edge": short_edge},
    }


def _image_rates(network: EmbeddingNetwork, labelled: Labelled, short_edge: int | None) -> dict[str, float]:
    """The rates of one image; NaN where it has no such pair."""
    embedding, objectness = embed_image(network, labelled.image, short_edge)
    points = sample_points(labelled.instances, POINTS, np.random.default_rng(SEED))
    classes = labelled.classes[points[:, 0], points[:, 1]]
    size = labelled.classes.shape
    squared = squared_distances(at_points(embedding[None].cpu(), torch.from_numpy(points)[None], size))
    owners = torch.from_numpy(owners_at(labelled.instances, points))[None]
    same, weights = pair_weights(owners, torch.from_numpy(classes)[None], torch.tensor([labelled.exact]))
    joined = similarity(squared) >= 0.5
    distinct = torch.from_numpy((points[:, None] != points[None]).any(2))[None]
    objects = (owners > 0)[:, :, None] & (owners > 0)[:, None, :]
    return {
        "same": _rate(joined, weights * (same & distinct)),
        "different": _rate(~joined, weights * ~same),
        "different_objects": _rate(~joined, weights * (~same & objects)),
        "iou": _objectness_iou(objectness.cpu(), labelled.classes),
    }


def _rate(right: Tensor, weights: Tensor) -> float:
    return float((weights * right).sum() / weights.sum())


def _objectness_iou(objectness: Tensor, classes: np.ndarray) -> float:
    resized = torch.nn.functional.interpolate(objectness[None, None], classes.shape, mode="bilinear")[0, 0].numpy()
    found, truth = (resized > 0.5) & (classes != VOID), (classes > 0) & (classes != VOID)
    union = (found | truth).sum()
    return float((found & truth).sum() / union) if union else float("nan")


def _mean(values: list[float]) -> Any:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None
