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


MODEL = argument("--model", "see `amd --help`", "MODEL")
DATASET = argument("--dataset", VIDEO_SETS, "NAME", required=True)
ROOT = argument("--root", "the benchmark, as downloaded", "DIR", required=True, type=Path)
JSON = argument("--json", "also write the scores with their protocol", "FILE", dest="json_path", type=Path)
MAPS = argument("--predictions", "<image>.png", "DIR", type=Path)

COMMANDS = (
    Command("score", "scores of saved predictions", SCORE, score).used(
        "amd score --dataset davis2016 --root DAVIS --predictions masks/davis2016 --json scores.json",
        argument("--dataset", f"{VIDEO_SETS}, {IMAGE_SETS}", "NAME", required=True),
        ROOT,
        argument("--predictions", "masks or maps, see above", "DIR", required=True, type=Path),
        JSON,
    ),
    Command("robustness", "masks under corruptions", ROBUSTNESS, robustness).used(
        "amd robustness --dataset davis2016 --root DAVIS --model models:/amd@champion --further --pictures out",
        DATASET,
        ROOT,
        one_of(
            MODEL,
            argument("--predictions", "masks <version>/<sequence>/<frame>.png", "DIR", type=Path),
            argument("--write-frames", "write the frames, score nothing", "DIR", dest="frames_out", type=Path),
        ),
        argument("--band", "blurred band, instead of robustness.band", "PIXELS", type=size),
        argument("--blur", "deviation, instead of robustness.blur", "PIXELS", type=size),
        argument(
            "--further",
            "also noise, JPEG, motion blur, an occluding bar and a frame gap",
            dest="with_further",
            action="store_true",
        ),
        JSON,
        argument("--pictures", "also draw a frame of every sequence", "DIR", type=Path),
    ),
    Command("features", "are objects apart in features?", FEATURES, features).used(
        "amd features --dataset davis2016 --root DAVIS --model resnet50.pth --out features",
        DATASET,
        ROOT,
        one_of(MODEL, argument("--maps", "features <sequence>/<frame>.npy", "DIR", type=Path)),
        argument("--out", "where measures and figure go", "DIR", required=True, type=Path),
    ),
    Command("objectness", "statistics of the segments", OBJECTNESS, "amd.evaluation.channels:run_objectness").used(
        "amd objectness --model models:/amd@champion --shards data/shards --pairs 8750 --figure segments.svg",
        argument("--model", "see `amd --help`", "MODEL", required=True),
        argument("--shards", "as the pipeline writes them", "DIR", required=True, type=Path),
        argument("--pairs", "frame pairs (default: %(default)s)", "N", type=positive, default=512),
        JSON,
        argument("--figure", "also draw them (.svg or .png)", "FILE", type=Path),
    ),
    Command("saliency", "F-beta and MAE of soft maps", SALIENCY, "amd.evaluation.saliency:run_saliency").used(
        "amd saliency --root DUTS-TE --model models:/amd@champion --json saliency.json",
        argument("--dataset", f"duts, folder, {VIDEO_SETS} (default: %(default)s)", "NAME", default="duts"),
        argument("--root", "the images with their masks", "DIR", required=True, type=Path),
        one_of(MODEL, MAPS),
        JSON,
        argument("--pictures", "also draw images, maps and truths (.png)", "FILE", type=Path),
    ),
    Command("semantic", "mean IoU over classes", SEMANTIC, "amd.evaluation.semantic:run_semantic").used(
        "amd semantic --root VOC2012 --model models/semantic/amd-light-0/model.safetensors --pictures voc.png",
        argument("--root", "the folder VOC2012, as downloaded", "DIR", required=True, type=Path),
        argument("--split", "list of images (default: %(default)s)", "NAME", default="val"),
        one_of(argument("--model", "a fine-tuned model", "FILE"), MAPS),
        JSON,
        argument("--pictures", "also draw images, truths and labels (.png)", "FILE", type=Path),
    ),
    Command("transfer", "experiments of Instance Embedding Transfer", TRANSFER, transfer).used(
        "amd transfer intervals --dataset davis2016 --root DAVIS --model embedding.safetensors --out out",
        argument("experiment", "one of the above", "EXPERIMENT", choices=(*NAMES, "all")),
        DATASET,
        ROOT,
        argument("--model", "an instance embedding, or an AMD", "MODEL", required=True),
        argument("--features", "default: %(default)s", choices=("embedding", "amd"), default="embedding"),
        argument("--out", "where scores and the figure go", "DIR", required=True, type=Path),
    ),
)
