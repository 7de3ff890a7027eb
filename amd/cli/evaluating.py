"""`amd score, robustness, features, objectness, saliency, semantic`: the evaluations."""

import argparse
from pathlib import Path

from amd.cli.arguments import IMAGE_SETS, VIDEO_SETS, Commands, command, positive, size

SCORE = """\
Score what anything produced on a benchmark.

  davis2016, segtrackv2, fbms59, youtubevos   masks DIR/<sequence>/<frame>.png, 0 or 255: region J, boundary F
  duts, folder                                soft maps DIR/<image>.png, 0 to 255: F-beta and MAE
  voc2012                                     class maps DIR/<image>.png, 0 to 20: mean IoU over 21 classes

Predictions have the frame's own size. A missing one, a wrong size or a stray folder is an error that names it.
"""

ROBUSTNESS = """\
Segment a benchmark's frames as they are, with the colours of the annotated foreground inverted, and with a band
around its boundary blurred: intersection over union and accuracy of foreground and background, pooled over frames.

Other methods: --write-frames DIR writes the frames of every version as DIR/<version>/<sequence>/<frame>.png;
--predictions DIR scores masks of the same names. Strengths are those of ./params.yaml, section robustness (of the
quickstart profile where there is none).
"""

FEATURES = """\
Features of a network at pixels inside and outside the masks of a benchmark: accuracy of a linear probe on held-out
videos, silhouette, and a figure (PCA and t-SNE, kernel density of each side).

MODEL is the backbone of an AMD, or a file with an ImageNet-style ResNet (.pth, .safetensors; names of torchvision).
Saved features are DIR/<sequence>/<frame>.npy, float arrays h,w,C of any size. How many pixels are compared is said by
./params.yaml, section features (of the quickstart profile where there is none).

  OUT/features.json, OUT/features.png
"""

OBJECTNESS = """\
Statistics of every segment over training frames: motion, area, entropy, reconstruction error, centre and spread; the
segment that each takes for the object without labels, and whether they agree.
"""

SALIENCY = """\
Score soft saliency maps: F-beta (beta^2 = 0.3; adaptive threshold, maximum and mean over thresholds) and MAE.

The map of a model is its object segment's soft mask. Saved maps are DIR/<image>.png, grey 0 to 255, at the image's
own size. duts: DUTS-TE-Image and DUTS-TE-Mask as downloaded; folder: images/ and masks/ of your own; of a video
benchmark every frame that counts is an image, its map DIR/<sequence>/<frame>.png.
"""

SEMANTIC = """\
Score semantic segmentation on Pascal VOC 2012, or on a folder of its layout: mean IoU over all classes.

MODEL is a file that `dvc repro pipelines/semantic/dvc.yaml` fine-tuned, in models/semantic. Saved predictions are
DIR/<image>.png, the number of a class per pixel, at the image's own size.
"""


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _score(subparsers)
    _robustness(subparsers)
    _features(subparsers)
    _objectness(subparsers)
    _saliency(subparsers)
    _semantic(subparsers)


def score(dataset: str, root: Path, predictions: Path, json: Path | None) -> None:
    """Scores of saved masks, saliency maps or class maps, by what the benchmark is about."""
    if dataset in ("duts", "folder"):
        from amd.evaluation.saliency import run_saliency

        run_saliency(dataset, root, None, predictions, json)
    elif dataset == "voc2012":
        from amd.evaluation.semantic import run_semantic

        run_semantic(root, "val", None, predictions, json, None)
    else:
        from amd.evaluation.vos import run_score

        run_score(dataset, root, predictions, json)


def robustness(
    dataset: str,
    root: Path,
    model: str | None,
    predictions: Path | None,
    frames_out: Path | None,
    band: float | None,
    blur: float | None,
    further: bool,
    json: Path | None,
    pictures: Path | None,
) -> None:
    """Masks of a benchmark's frames as they are and corrupted; or the frames themselves."""
    from amd.config.profiles import local_params
    from amd.data.benchmarks.davis import open_benchmark
    from amd.evaluation.corruptions import versions, write_frames
    from amd.evaluation.robustness import run_robustness

    given = {name: value for name, value in {"band": band, "blur": blur}.items() if value is not None}
    strengths = local_params().robustness.model_copy(update=given)
    if frames_out:
        write_frames(versions(open_benchmark(dataset, root), strengths, further), frames_out)
        return
    run_robustness(
        dataset, root, strengths, with_further=further, model=model, predictions=predictions, json_path=json,
        pictures=pictures,
    )  # fmt: skip


def features(dataset: str, root: Path, model: str | None, maps: Path | None, out: Path) -> None:
    """Foreground against background in a network's features."""
    from amd.config.profiles import local_params
    from amd.evaluation.features import run_features

    run_features(dataset, root, local_params().features, out, model, maps)


def objectness(model: str, shards: Path, pairs: int, json: Path | None, figure: Path | None) -> None:
    """Statistics of every segment over training frames."""
    from amd.evaluation.channels import run_objectness

    run_objectness(model, shards, pairs, json, figure)


def saliency(
    dataset: str, root: Path, model: str | None, predictions: Path | None, json: Path | None, pictures: Path | None
) -> None:
    """F-beta and MAE of a model's or of saved maps."""
    from amd.evaluation.saliency import run_saliency

    run_saliency(dataset, root, model, predictions, json, pictures)


def semantic(
    root: Path, split: str, model: str | None, predictions: Path | None, json: Path | None, pictures: Path | None
) -> None:
    """Mean IoU of a fine-tuned model or of saved labels."""
    from amd.evaluation.semantic import run_semantic

    run_semantic(root, split, model, predictions, json, pictures)


def _score(subparsers: Commands) -> None:
    example = "amd score --dataset davis2016 --root DAVIS --predictions masks/davis2016 --json scores.json"
    parser = command(subparsers, "score", score, "scores of saved predictions", SCORE, example)
    parser.add_argument("--dataset", required=True, metavar="NAME", help=f"{VIDEO_SETS}, {IMAGE_SETS}")
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    parser.add_argument("--predictions", required=True, metavar="DIR", type=Path, help="masks or maps, see above")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")


def _robustness(subparsers: Commands) -> None:
    example = "amd robustness --dataset davis2016 --root DAVIS --model models:/amd@champion --further --pictures out"
    parser = command(subparsers, "robustness", robustness, "masks under corruptions", ROBUSTNESS, example)
    masks = _benchmark_and_model(parser)
    masks.add_argument("--predictions", metavar="DIR", type=Path, help="masks <version>/<sequence>/<frame>.png")
    masks.add_argument(
        "--write-frames", dest="frames_out", metavar="DIR", type=Path, help="write the frames, score nothing"
    )
    parser.add_argument("--band", metavar="PIXELS", type=size, help="blurred band, instead of robustness.band")
    parser.add_argument("--blur", metavar="PIXELS", type=size, help="deviation, instead of robustness.blur")
    parser.add_argument(
        "--further", action="store_true", help="also noise, JPEG, motion blur, an occluding bar and a frame gap"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="also draw a frame of every sequence")


def _features(subparsers: Commands) -> None:
    example = "amd features --dataset davis2016 --root DAVIS --model resnet50.pth --out features"
    parser = command(subparsers, "features", features, "are objects apart in features?", FEATURES, example)
    maps = _benchmark_and_model(parser)
    maps.add_argument("--maps", metavar="DIR", type=Path, help="features <sequence>/<frame>.npy")
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
    names = f"duts, folder, {VIDEO_SETS} (default: %(default)s)"
    parser.add_argument("--dataset", default="duts", metavar="NAME", help=names)
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the images with their masks")
    maps = parser.add_mutually_exclusive_group(required=True)
    maps.add_argument("--model", metavar="MODEL", help="see `amd --help`")
    maps.add_argument("--predictions", metavar="DIR", type=Path, help="<image>.png")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")
    parser.add_argument("--pictures", metavar="FILE", type=Path, help="also draw images, maps and truths (.png)")


def _semantic(subparsers: Commands) -> None:
    example = "amd semantic --root VOC2012 --model models/semantic/amd-light-0/model.safetensors --pictures voc.png"
    parser = command(subparsers, "semantic", semantic, "mean IoU over classes", SEMANTIC, example)
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the folder VOC2012, as downloaded")
    parser.add_argument("--split", default="val", metavar="NAME", help="list of images (default: %(default)s)")
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument("--model", metavar="FILE", help="a fine-tuned model")
    labels.add_argument("--predictions", metavar="DIR", type=Path, help="<image>.png")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")
    parser.add_argument("--pictures", metavar="FILE", type=Path, help="also draw images, truths and labels (.png)")


def _benchmark_and_model(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """The benchmark, and a group of what is scored on it: a model, or what the caller adds."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help=VIDEO_SETS)
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    scored = parser.add_mutually_exclusive_group(required=True)
    scored.add_argument("--model", metavar="MODEL", help="see `amd --help`")
    return scored
