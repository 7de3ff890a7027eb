"""Saliency maps in pictures: of some images the image, the map and the truth, from the worst map to the best."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from amd.data.images import read_image
from amd.data.sequences import BenchmarkFrame, read_truth
from amd.report.sheet import write_sheet

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
        grey = (_grey(maps(frame)), _grey(read_truth(frame)))
        rows.append([read_image(frame.image), *grey])
    write_sheet(path, ("image", "map, worst to best MAE", "truth"), rows)


def _grey(values: np.ndarray) -> np.ndarray:
    """A map H,W in 0 to 1 as uint8 H,W,3."""
    return np.repeat((values * 255).round().astype(np.uint8)[..., None], 3, axis=2)
