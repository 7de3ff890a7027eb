"""`amd score, robustness, features, objectness, saliency`: the evaluations."""

import argparse
from pathlib import Path

from amd.cli.arguments import VIDEO_SETS, Commands, command, positive, size

SCORE = """\
Score masks that anything produced: region J and boundary F (mean, recall, decay) per sequence.

DIR of --predictions holds <sequence>/<frame>.png, 0 or 255, at the frame's own size. A missing frame, a wrong
size or a stray folder is an error that names it.
"""

ROBUSTNESS = """\
Segment a benchmark's frames as they are, with the colours of the annotated foreground inverted, and with a band
around its boundary blurred: intersection over union and accuracy of foreground and background, pooled over frames.
"""

FEATURES = """\
Features of a network at pixels inside and outside the masks of a benchmark: accuracy of a linear probe on held-out
videos, silhouette, and a figure (PCA and t-SNE, kernel density of each side).

MODEL is the backbone of an AMD, or a file with an ImageNet-style ResNet (.pth, .safetensors; names of torchvision).

  OUT/features.json, OUT/features.png
"""

OBJECTNESS = """\
Statistics of every segment over training frames: motion, area, entropy, reconstruction error, centre and spread; the
segment that each takes for the object without labels, and whether they agree.
"""

SALIENCY = """\
Score soft saliency maps: F-beta (beta^2 = 0.3; adaptive threshold, maximum and mean over thresholds) and MAE.

The map of a model is its object segment's soft mask. Saved maps are DIR/<image>.png, grey 0 to 255, at the image's
own size. duts: DUTS-TE-Image and DUTS-TE-Mask as downloaded; folder: images/ and masks/ of your own.
"""


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _score(subparsers)
    _robustness(subparsers)
    _features(subparsers)
    _objectness(subparsers)
    _saliency(subparsers)


def score(dataset: str, root: Path, predictions: Path, json: Path | None) -> None:
    """J and F of a folder of masks."""
    from amd.evaluation.vos import run_score

    run_score(dataset, root, predictions, json)


def robustness(
    dataset: str,
    root: Path,
    model: str,
    band: float,
    blur: float,
    further: bool,
    json: Path | None,
    pictures: Path | None,
) -> None:
    """Masks of a benchmark's frames as they are and corrupted."""
    from amd.evaluation.corruptions import Strengths
    from amd.evaluation.robustness import run_robustness

    run_robustness(dataset, root, model, Strengths(band=band, blur=blur), further, json, pictures)


def features(dataset: str, root: Path, model: str, out: Path) -> None:
    """Foreground against background in a network's features."""
    from amd.evaluation.features import run_features

    run_features(dataset, root, model, out)


def objectness(model: str, shards: Path, pairs: int, json: Path | None, figure: Path | None) -> None:
    """Statistics of every segment over training frames."""
    from amd.evaluation.channels import run_objectness

    run_objectness(model, shards, pairs, json, figure)


def saliency(dataset: str, root: Path, model: str | None, predictions: Path | None, json: Path | None) -> None:
    """F-beta and MAE of a model's or of saved maps."""
    from amd.evaluation.saliency import run_saliency

    run_saliency(dataset, root, model, predictions, json)


def _score(subparsers: Commands) -> None:
    example = "amd score --dataset davis2016 --root DAVIS --predictions masks/davis2016 --json scores.json"
    parser = command(subparsers, "score", score, "J and F of masks on a benchmark", SCORE, example)
    parser.add_argument("--dataset", required=True, metavar="NAME", help=VIDEO_SETS)
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    parser.add_argument("--predictions", required=True, metavar="DIR", type=Path, help="<sequence>/<frame>.png")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")


def _robustness(subparsers: Commands) -> None:
    example = "amd robustness --dataset davis2016 --root DAVIS --model models:/amd@champion --further --pictures out"
    parser = command(subparsers, "robustness", robustness, "masks under corruptions", ROBUSTNESS, example)
    _benchmark_and_model(parser)
    parser.add_argument("--band", metavar="PIXELS", type=size, default=20.0, help="blurred band (default: %(default)s)")
    parser.add_argument(
        "--blur", metavar="PIXELS", type=size, default=5.0, help="deviation of the blur (default: %(default)s)"
    )
    parser.add_argument("--further", action="store_true", help="also noise, JPEG, motion blur and an occluding bar")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="also draw a frame of every sequence")


def _features(subparsers: Commands) -> None:
    example = "amd features --dataset davis2016 --root DAVIS --model resnet50.pth --out features"
    parser = command(subparsers, "features", features, "are objects apart in features?", FEATURES, example)
    _benchmark_and_model(parser)
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="where measures and figure go")


def _objectness(subparsers: Commands) -> None:
    example = "amd objectness --model models:/amd@champion --shards data/shards --pairs 8750 --figure segments.svg"
    parser = command(subparsers, "objectness", objectness, "statistics of the segments", OBJECTNESS, example)
    parser.add_argument("--model", required=True, metavar="MODEL", help="see `amd --help`")
    parser.add_argument("--shards", required=True, metavar="DIR", type=Path, help="as the pipeline writes them")
    parser.add_argument("--pairs", metavar="N", type=positive, default=512, help="frame pairs (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write statistics and choices")
    parser.add_argument("--figure", metavar="FILE", type=Path, help="also draw them (.svg or .png)")


def _saliency(subparsers: Commands) -> None:
    example = "amd saliency --root DUTS-TE --model models:/amd@champion --json saliency.json"
    parser = command(subparsers, "saliency", saliency, "F-beta and MAE of soft maps", SALIENCY, example)
    parser.add_argument("--dataset", default="duts", choices=("duts", "folder"), help="default: %(default)s")
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the images with their masks")
    maps = parser.add_mutually_exclusive_group(required=True)
    maps.add_argument("--model", metavar="MODEL", help="see `amd --help`")
    maps.add_argument("--predictions", metavar="DIR", type=Path, help="<image>.png")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")


def _benchmark_and_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as davis2016")
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    parser.add_argument("--model", required=True, metavar="MODEL", help="see `amd --help`")
