"""Are foreground and background apart in a network's features? (the slides' "Fore and Back Features")

Input: pixels of both sides (amd.evaluation.pixels). Output: how well a linear probe tells foreground from background
on videos that it was not fitted on, the silhouette of the two sides, and their places in the plane (PCA and t-SNE).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import balanced_accuracy_score, silhouette_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from amd.config import Features
from amd.data.benchmarks.davis import open_benchmark
from amd.evaluation.pixels import Pixels, collect_pixels, network_features, saved_features
from amd.runtime.files import atomic_path, write_json

COMPONENTS = 50  # that t-SNE starts from


def run_features(
    dataset: str, root: Path, settings: Features, out: Path, model: str | None = None, maps: Path | None = None
) -> dict:
    """Measure a network, or saved maps of features, on a benchmark.

    Prints, writes features.json and features.png under `out`, and gives the report.
    """

    extractor = network_features(cast(str, model)) if maps is None else saved_features(maps)
    pixels = collect_pixels(open_benchmark(dataset, root), extractor, settings)
    report = feature_report(pixels, dataset, model or f"maps as given: {maps}", settings)
    write_json(out / "features.json", report)
    shown = _subset(pixels, settings)
    write_feature_figure(out / "features.png", embed(shown.features, settings.seed), shown.foreground)
    print(format_features(report))
    return report


def linear_probe(pixels: Pixels, folds: int) -> dict[str, float | None]:
    """Balanced accuracy (chance 0.5) by video, each judged by a probe fitted on other videos; their "mean".

    {"mean": None} with a single video. A video without one of the sides is not judged.
    """
    names = np.unique(pixels.videos)
    if len(names) < 2:
        return {"mean": None}
    scores: dict[str, float | None] = {}
    splits = GroupKFold(min(folds, len(names)))
    for fitted, held_out in splits.split(pixels.features, groups=pixels.videos):
        if len(np.unique(pixels.foreground[fitted])) < 2:
            continue
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probe.fit(pixels.features[fitted], pixels.foreground[fitted])
        for name in np.unique(pixels.videos[held_out]):
            chosen = held_out[pixels.videos[held_out] == name]
            truth = pixels.foreground[chosen]
            if len(np.unique(truth)) == 2:
                scores[str(name)] = float(balanced_accuracy_score(truth, probe.predict(pixels.features[chosen])))
    return {"mean": float(np.mean(list(scores.values()))) if scores else None} | dict(sorted(scores.items()))


def silhouette(features: np.ndarray, foreground: np.ndarray) -> float:
    """Mean silhouette (-1 to 1; 0: not apart) of the two sides, every feature at unit deviation."""
    return float(silhouette_score(StandardScaler().fit_transform(features), foreground))


def embed(features: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """{"PCA", "t-SNE"}: places N,2 in the plane of standardised features N,C."""
    standard = StandardScaler().fit_transform(features)
    components = PCA(min(COMPONENTS, *features.shape), random_state=seed).fit_transform(standard)
    perplexity = min(30.0, (len(features) - 1) / 3)
    plane = TSNE(init="pca", perplexity=perplexity, random_state=seed, n_jobs=1).fit_transform(components)
    return {"PCA": components[:, :2], "t-SNE": plane}


def feature_report(pixels: Pixels, dataset: str, network: str, settings: Features) -> dict:
    """The measures with their protocol; the published figure has no numbers."""
    shown = _subset(pixels, settings)
    return {
        "protocol": {
            "dataset": dataset,
            "network": network,
            "videos": len(np.unique(pixels.videos)),
            "frames": pixels.frames,
            "pixels": len(pixels.foreground),
            "foreground_pixels": int(pixels.foreground.sum()),
            "dimensions": pixels.features.shape[1],
            "sampling": f"up to {settings.pixels} feature pixels a side of up to {settings.frames} scored frames a "
            f"video, seed {settings.seed}",
            "probe": f"logistic regression on standardised features, up to {settings.folds} folds of whole videos; "
            "balanced accuracy, mean over held-out videos; chance 0.5",
            "silhouette": f"Euclidean, standardised features of up to {settings.shown} pixels",
            "supervision": "the annotation says which pixels are foreground, and fits the probe",
        },
        "published": "plots only",
        "probe_accuracy": linear_probe(pixels, settings.folds),
        "silhouette": silhouette(shown.features, shown.foreground),
    }


def format_features(report: dict) -> str:
    """The measures as text, a line per video, then the protocol."""
    lines = [f"silhouette {report['silhouette']:.3f}", "linear probe on held-out videos:"]
    lines += [
        f"  {name:24} {'-' if score is None else f'{score:.3f}'}" for name, score in report["probe_accuracy"].items()
    ]
    lines.append(f"published: {report['published']}")
    return "\n".join(lines + [f"{key}: {value}" for key, value in report["protocol"].items()])


def _subset(pixels: Pixels, settings: Features) -> Pixels:
    """At most `shown` of the pixels, drawn evenly; both sides stay as likely as they were."""
    chosen = np.random.default_rng(settings.seed).permutation(len(pixels.foreground))[: settings.shown]
    return Pixels(pixels.features[chosen], pixels.foreground[chosen], pixels.videos[chosen], pixels.frames)


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
