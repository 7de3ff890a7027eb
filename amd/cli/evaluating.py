"""`amd score, robustness, features, objectness, saliency, semantic, transfer`: the evaluations."""

from pathlib import Path
from typing import Any

from amd.cli.arguments import IMAGE_SETS, VIDEO_SETS, Command, argument, one_of, positive, size
from amd.runtime.errors import UserError

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


TRANSFER = """\
Run an experiment of Instance Embedding Transfer on a benchmark, with the parameters of ./params.yaml (of the
quickstart profile where there is none). The masks themselves are made by `amd segment --method transfer`.

  crf         J and F of the masks as they are and refined
  intervals   J when the seeds are renewed every 1, 5, 10, 20, 40 frames, and never
  rankings    J and accuracy of the first seed, tracks being ranked by motion, objectness, both
  features    J with the instance embedding, and with the features of its semantic side
  annotated   J and F when the first frame is annotated (semi-supervised)
  drift       how embeddings move away from those of the first frame
  all         all of them

  OUT/transfer_<experiment>.json   scores by sequence, their mean, the protocol, the paper's numbers
  OUT/transfer_figure.png          of intervals, rankings and drift
"""

NAMES = ("crf", "intervals", "rankings", "features", "annotated", "drift")
DRAWN = {"intervals", "rankings", "drift"}


def score(dataset: str, root: Path, predictions: Path, json_path: Path | None) -> None:
    """Scores of saved masks, saliency maps or class maps, by what the benchmark is about."""
    if dataset in ("duts", "folder"):
        from amd.evaluation.saliency import run_saliency

        run_saliency(dataset, root, None, predictions, json_path)
    elif dataset == "voc2012":
        from amd.evaluation.semantic import run_semantic

        run_semantic(root, "val", None, predictions, json_path, None)
    else:
        from amd.evaluation.vos import run_score

        run_score(dataset, root, predictions, json_path)


def robustness(
    dataset: str,
    root: Path,
    frames_out: Path | None,
    band: float | None,
    blur: float | None,
    with_further: bool,
    **wanted: Any,
) -> None:
    """Masks of a benchmark's frames as they are and corrupted; or the frames themselves."""
    from amd.config.profiles import local_params
    from amd.data.benchmarks.davis import open_benchmark
    from amd.evaluation.corruptions import versions, write_frames
    from amd.evaluation.robustness import run_robustness

    given = {name: value for name, value in {"band": band, "blur": blur}.items() if value is not None}
    strengths = local_params().robustness.model_copy(update=given)
    if frames_out:
        write_frames(versions(open_benchmark(dataset, root), strengths, with_further), frames_out)
    else:
        run_robustness(dataset, root, strengths, with_further=with_further, **wanted)


def features(**wanted: Any) -> None:
    """Foreground against background in a network's features."""
    from amd.config.profiles import local_params
    from amd.evaluation.features import run_features

    run_features(settings=local_params().features, **wanted)


def transfer(experiment: str, dataset: str, root: Path, model: str, features: str, out: Path) -> None:
    """Run experiments, print their means, write scores and the figure."""
    from amd.config.profiles import local_params
    from amd.data.benchmarks.davis import open_benchmark
    from amd.evaluation.transfer import compare_features, format_report, run_experiments, with_semantic
    from amd.evaluation.transfer_figures import write_experiment_figure
    from amd.evaluation.transfer_videos import open_features
    from amd.runtime.files import write_json

    if features == "amd" and experiment == "features":
        raise UserError("features: an AMD has no semantic side to compare with; give an instance embedding")
    params, opened, sequences = local_params(), open_features(features, model), open_benchmark(dataset, root)
    names = [name for name in NAMES if experiment in (name, "all") and name != "features"]
    reports = run_experiments(names, sequences, opened, params.transfer, params.crf) if names else {}
    if features == "embedding" and experiment in ("features", "all"):
        reports["features"] = compare_features(sequences, with_semantic(opened), params.transfer, params.crf)
    for name, report in reports.items():
        write_json(out / f"transfer_{name}.json", report)
        print(format_report(name, report), end="\n\n")
    if DRAWN & reports.keys():
        write_experiment_figure(out / "transfer_figure.png", reports)


MODEL = argument("--model", metavar="MODEL", help="see `amd --help`")
DATASET = argument("--dataset", required=True, metavar="NAME", help=VIDEO_SETS)
ROOT = argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
JSON = argument("--json", dest="json_path", metavar="FILE", type=Path, help="also write the scores with their protocol")
MAPS = argument("--predictions", metavar="DIR", type=Path, help="<image>.png")

COMMANDS = (
    Command(
        "score",
        "scores of saved predictions",
        SCORE,
        "amd score --dataset davis2016 --root DAVIS --predictions masks/davis2016 --json scores.json",
        score,
        (
            argument("--dataset", required=True, metavar="NAME", help=f"{VIDEO_SETS}, {IMAGE_SETS}"),
            ROOT,
            argument("--predictions", required=True, metavar="DIR", type=Path, help="masks or maps, see above"),
            JSON,
        ),
    ),
    Command(
        "robustness",
        "masks under corruptions",
        ROBUSTNESS,
        "amd robustness --dataset davis2016 --root DAVIS --model models:/amd@champion --further --pictures out",
        robustness,
        (
            DATASET,
            ROOT,
            one_of(
                MODEL,
                argument("--predictions", metavar="DIR", type=Path, help="masks <version>/<sequence>/<frame>.png"),
                argument(
                    "--write-frames",
                    dest="frames_out",
                    metavar="DIR",
                    type=Path,
                    help="write the frames, score nothing",
                ),
            ),
            argument("--band", metavar="PIXELS", type=size, help="blurred band, instead of robustness.band"),
            argument("--blur", metavar="PIXELS", type=size, help="deviation, instead of robustness.blur"),
            argument(
                "--further",
                dest="with_further",
                action="store_true",
                help="also noise, JPEG, motion blur, an occluding bar and a frame gap",
            ),
            JSON,
            argument("--pictures", metavar="DIR", type=Path, help="also draw a frame of every sequence"),
        ),
    ),
    Command(
        "features",
        "are objects apart in features?",
        FEATURES,
        "amd features --dataset davis2016 --root DAVIS --model resnet50.pth --out features",
        features,
        (
            DATASET,
            ROOT,
            one_of(MODEL, argument("--maps", metavar="DIR", type=Path, help="features <sequence>/<frame>.npy")),
            argument("--out", required=True, metavar="DIR", type=Path, help="where measures and figure go"),
        ),
    ),
    Command(
        "objectness",
        "statistics of the segments",
        OBJECTNESS,
        "amd objectness --model models:/amd@champion --shards data/shards --pairs 8750 --figure segments.svg",
        "amd.evaluation.channels:run_objectness",
        (
            argument("--model", required=True, metavar="MODEL", help="see `amd --help`"),
            argument("--shards", required=True, metavar="DIR", type=Path, help="as the pipeline writes them"),
            argument("--pairs", metavar="N", type=positive, default=512, help="frame pairs (default: %(default)s)"),
            JSON,
            argument("--figure", metavar="FILE", type=Path, help="also draw them (.svg or .png)"),
        ),
    ),
    Command(
        "saliency",
        "F-beta and MAE of soft maps",
        SALIENCY,
        "amd saliency --root DUTS-TE --model models:/amd@champion --json saliency.json",
        "amd.evaluation.saliency:run_saliency",
        (
            argument(
                "--dataset", default="duts", metavar="NAME", help=f"duts, folder, {VIDEO_SETS} (default: %(default)s)"
            ),
            argument("--root", required=True, metavar="DIR", type=Path, help="the images with their masks"),
            one_of(MODEL, MAPS),
            JSON,
            argument("--pictures", metavar="FILE", type=Path, help="also draw images, maps and truths (.png)"),
        ),
    ),
    Command(
        "semantic",
        "mean IoU over classes",
        SEMANTIC,
        "amd semantic --root VOC2012 --model models/semantic/amd-light-0/model.safetensors --pictures voc.png",
        "amd.evaluation.semantic:run_semantic",
        (
            argument("--root", required=True, metavar="DIR", type=Path, help="the folder VOC2012, as downloaded"),
            argument("--split", default="val", metavar="NAME", help="list of images (default: %(default)s)"),
            one_of(
                argument("--model", metavar="FILE", help="a fine-tuned model"),
                MAPS,
            ),
            JSON,
            argument("--pictures", metavar="FILE", type=Path, help="also draw images, truths and labels (.png)"),
        ),
    ),
    Command(
        "transfer",
        "experiments of Instance Embedding Transfer",
        TRANSFER,
        "amd transfer intervals --dataset davis2016 --root DAVIS --model embedding.safetensors --out out",
        transfer,
        (
            argument("experiment", choices=(*NAMES, "all"), metavar="EXPERIMENT", help="one of the above"),
            DATASET,
            ROOT,
            argument("--model", required=True, metavar="MODEL", help="an instance embedding, or an AMD"),
            argument("--features", choices=("embedding", "amd"), default="embedding", help="default: %(default)s"),
            argument("--out", required=True, metavar="DIR", type=Path, help="where scores and the figure go"),
        ),
    ),
)
