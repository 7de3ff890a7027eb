"""Are foreground and background apart in a network's features? (the slides' "Fore and Back Features")

Enters: a benchmark, and a network that turns an image into features. Leaves: how well a linear probe tells
foreground from background pixels on videos that it was not fitted on, the silhouette of the two sides, and their
places in the plane (PCA and t-SNE). Pixels are drawn evenly from both sides of every frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import balanced_accuracy_score, silhouette_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from amd.data.benchmarks import BenchmarkFrame, Sequence, open_benchmark
from amd.data.images import read_image, read_mask
from amd.errors import UserError
from amd.files import write_json
from amd.imagenet import is_imagenet_file, load_imagenet
from amd.loading import resolve_model
from amd.model.amd import AMD
from amd.model.appearance import DEVIATION, MEAN
from amd.progress import progress

IMAGENET_STRIDE = 8
IMAGENET_SHORT_EDGE = 224
FRAMES = 10  # of a video, evenly over it
PIXELS = 16  # of a side of a frame
FOLDS = 5
SHOWN = 1000  # points of the scatters; t-SNE takes seconds for these
COMPONENTS = 50  # that t-SNE starts from
SEED = 0

Extractor = Callable[[np.ndarray], np.ndarray]  # image uint8 H,W,3 to features h,w,C


@dataclass(frozen=True)
class Pixels:
    """Drawn pixels: their features, side and video."""

    features: np.ndarray  # N,C float32
    foreground: np.ndarray  # N bool
    videos: np.ndarray  # N, names
    frames: int


def run_features(dataset: str, root: Path, model: str, out: Path) -> None:
    """Measure a network on a benchmark; print, and write features.json and features.png under `out`."""
    from amd.report.feature_figure import write_feature_figure  # matplotlib takes a second to import

    pixels = collect_pixels(open_benchmark(dataset, root), open_network(model))
    report = feature_report(pixels, dataset, model)
    write_json(Path(out) / "features.json", report)
    shown = _subset(pixels)
    write_feature_figure(Path(out) / "features.png", embed(shown.features), shown.foreground)
    print(format_features(report))


def open_network(model: str) -> Extractor:
    """The backbone of an AMD (see amd.loading), or of a file with an ImageNet-style ResNet."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not model.startswith("models:/") and is_imagenet_file(model):
        backbone = load_imagenet(model, IMAGENET_STRIDE).to(device)
        return lambda image: extract(lambda images: backbone(_normalised(images)), image, IMAGENET_SHORT_EDGE, device)
    network, info = resolve_model(model)
    return backbone_extractor(network.to(device), info.short_edge)


def backbone_extractor(model: AMD, short_edge: int | None) -> Extractor:
    """Features of the appearance pathway's backbone, of images resized as for segmenting."""
    device = next(model.parameters()).device
    return lambda image: extract(model.appearance.features, image, short_edge, device)


@torch.no_grad()
def extract(
    network: Callable[[Tensor], Tensor], image: np.ndarray, short_edge: int | None, device: torch.device | str
) -> np.ndarray:
    """Features float32 h,w,C of an image uint8 H,W,3 whose short edge is resized to `short_edge`."""
    pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
    if short_edge is not None:
        scale = short_edge / min(image.shape[:2])
        size = tuple(max(1, round(scale * length)) for length in image.shape[:2])
        pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
    return network(pixels)[0].permute(1, 2, 0).float().cpu().numpy()


def collect_pixels(sequences: list[Sequence], extractor: Extractor) -> Pixels:
    """Up to PIXELS of either side of up to FRAMES frames of every video; UserError when a side has none at all."""
    generator = np.random.default_rng(SEED)
    features, sides, videos, frames = [], [], [], 0
    for sequence in progress(sequences, "features", unit="sequences"):
        for frame in _spread(sequence.scored_frames):
            values, side = _frame_pixels(extractor(read_image(frame.image)), read_mask(frame.truth), generator)
            features.append(values)
            sides.append(side)
            videos += [sequence.name] * len(side)
            frames += 1
    foreground = np.concatenate(sides) if sides else np.zeros(0, bool)
    if foreground.all() or not foreground.any():
        side = "background" if foreground.any() else "foreground"
        raise UserError(
            f"{sequences[0].frames[0].image.parent}: no {side} pixel in any annotated frame; nothing to tell"
        )
    return Pixels(np.concatenate(features), foreground, np.array(videos), frames)


def linear_probe(pixels: Pixels) -> dict[str, float | None]:
    """Balanced accuracy (chance 0.5) by video, each judged by a probe fitted on other videos; their "mean".

    {"mean": None} with a single video. A video without one of the sides is not judged.
    """
    names = np.unique(pixels.videos)
    if len(names) < 2:
        return {"mean": None}
    scores: dict[str, float | None] = {}
    folds = GroupKFold(min(FOLDS, len(names)))
    for fitted, held_out in folds.split(pixels.features, groups=pixels.videos):
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


def embed(features: np.ndarray) -> dict[str, np.ndarray]:
    """{"PCA", "t-SNE"}: places N,2 in the plane of standardised features N,C."""
    standard = StandardScaler().fit_transform(features)
    components = PCA(min(COMPONENTS, *features.shape), random_state=SEED).fit_transform(standard)
    perplexity = min(30.0, (len(features) - 1) / 3)
    plane = TSNE(init="pca", perplexity=perplexity, random_state=SEED, n_jobs=1).fit_transform(components)
    return {"PCA": components[:, :2], "t-SNE": plane}


def feature_report(pixels: Pixels, dataset: str, model: str) -> dict:
    """The measures with their protocol; the published figure has no numbers."""
    shown = _subset(pixels)
    return {
        "protocol": {
            "dataset": dataset,
            "network": model,
            "videos": len(np.unique(pixels.videos)),
            "frames": pixels.frames,
            "pixels": len(pixels.foreground),
            "foreground_pixels": int(pixels.foreground.sum()),
            "dimensions": pixels.features.shape[1],
            "sampling": f"up to {PIXELS} feature pixels a side of up to {FRAMES} scored frames a video, seed {SEED}",
            "probe": f"logistic regression on standardised features, up to {FOLDS} folds of whole videos; "
            "balanced accuracy, mean over held-out videos; chance 0.5",
            "silhouette": f"Euclidean, standardised features of up to {SHOWN} pixels",
            "supervision": "the annotation says which pixels are foreground, and fits the probe",
        },
        "published": "plots only",
        "probe_accuracy": linear_probe(pixels),
        "silhouette": silhouette(shown.features, shown.foreground),
    }


def format_features(report: dict) -> str:
    """The measures as text, a line per video, then the protocol."""
    lines = [f"silhouette {report['silhouette']:.3f}", "linear probe on held-out videos:"]
    lines += [
        f"  {name:24} {'-' if score is None else f'{score:.3f}'}" for name, score in report["probe_accuracy"].items()
    ]
    return "\n".join(lines + [f"{key}: {value}" for key, value in report["protocol"].items()])


def _normalised(images: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)


def _spread(frames: tuple[BenchmarkFrame, ...]) -> list[BenchmarkFrame]:
    places = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int)
    return [frames[place] for place in places]


def _frame_pixels(features: np.ndarray, truth: np.ndarray, generator: np.random.Generator) -> tuple:
    """Drawn features n,C and their sides; a feature pixel is of the side that most of its area is."""
    height, width = features.shape[:2]
    cover = cv2.resize(truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5
    chosen = []
    for side in (np.flatnonzero(cover), np.flatnonzero(~cover)):
        chosen.append(generator.permutation(side)[:PIXELS])
    places = np.concatenate(chosen)
    return features.reshape(height * width, -1)[places], cover.ravel()[places]


def _subset(pixels: Pixels) -> Pixels:
    """At most SHOWN of the pixels, drawn evenly; both sides stay as likely as they were."""
    chosen = np.random.default_rng(SEED).permutation(len(pixels.foreground))[:SHOWN]
    return Pixels(pixels.features[chosen], pixels.foreground[chosen], pixels.videos[chosen], pixels.frames)
