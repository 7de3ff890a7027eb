"""Foreground and background pixels in the plane: a scatter of both, and the kernel density of each (the slides)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from amd.files import atomic_path

SIDES = {"foreground": ("#d98324", "Oranges"), "background": ("#3b82c4", "Blues")}
GRID = 80  # points across of a density


def write_feature_figure(path: Path, embeddings: Mapping[str, np.ndarray], foreground: np.ndarray) -> None:
    """A PNG with a row per embedding (places N,2): the scatter, then each side's density on the same axes."""
    figure = Figure((9, 3 * len(embeddings)), layout="constrained", dpi=120)
    axes = figure.subplots(len(embeddings), 3, squeeze=False, sharex="row", sharey="row")
    for row, (name, places) in zip(axes, embeddings.items(), strict=True):
        sides = dict(zip(SIDES, (places[foreground], places[~foreground]), strict=True))
        for side, points in reversed(sides.items()):  # the foreground on top
            row[0].scatter(*points.T, s=5, alpha=0.5, linewidths=0, color=SIDES[side][0], label=side)
        row[0].set_title(name, fontsize=9)
        row[0].legend(fontsize=7, markerscale=2)
        for panel, (side, points) in zip(row[1:], sides.items(), strict=True):
            panel.set_title(f"{name}, density of the {side}", fontsize=9)
            _density(panel, points, places, SIDES[side][1])
    with atomic_path(path) as part:
        figure.savefig(part, format="png")


def _density(axes: Axes, points: np.ndarray, places: np.ndarray, colours: str) -> None:
    """Contours of the kernel density of `points` over the extent of all `places`."""
    try:
        density = gaussian_kde(points.T)
    except (np.linalg.LinAlgError, ValueError):  # too few points, or all on a line
        axes.text(0.5, 0.5, "too few points", ha="center", transform=axes.transAxes)
        return
    (left, bottom), (right, top) = places.min(0), places.max(0)
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    axes.contourf(x, y, density(np.stack((x.ravel(), y.ravel()))).reshape(x.shape), 12, cmap=colours)
