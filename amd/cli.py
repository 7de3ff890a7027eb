"""The `amd` command: arguments in, one call of amd.commands each; `amd --help` is the manual.

Errors are one line on stderr with exit status 2; Ctrl-C ends with 130. Libraries are imported by the command that
needs them, so that help and mistakes in the arguments answer at once.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from amd import commands
from amd.errors import UserError, exit_on_user_error

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MANUAL = """\
Learn to see objects from unlabeled video, and segment images and videos with what was learnt.

The pipeline (videos in, a registered model out) is run by `dvc repro`; see README.md. This command is for
everything around it: segmenting, scoring, looking at data, and getting models in and out.
"""

VIDEO_SETS = "davis2016, segtrackv2, fbms59, youtube_vos"
IMAGE_SETS = "duts, voc2012, folder"

EXAMPLES = """\
MODEL is one of
  models:/NAME@ALIAS, models:/NAME/VERSION   a registered model (MLFLOW_TRACKING_URI, else ./mlflow.db)
  FILE.safetensors                           a checkpoint, as the pipeline and `amd import` write it
  FILE.pth                                   the published reference's weights; pickled code is never run

examples
  amd profile quickstart                                       write params.yaml
  amd doctor my_videos                                         what can be used of these videos?
  amd segment clip.mp4 --model models:/amd@champion --out out --overlay
  amd score --dataset davis2016 --root DAVIS --predictions predictions/adapted/masks/davis2016

exit status: 0 well, 2 a mistake or a failed input (one line on stderr says which), 130 interrupted
"""

SEGMENT = """\
Segment the object in images, frame folders and videos (any mix; folders are searched for all of them).

The object is the model's object segment, chosen without labels; a pixel belongs to its most probable segment.
An input that fails is reported and stops no other. The same command again goes on where it was.

  OUT/<input>/masks/<frame>.png   0 or 255, at the frame's own size; of a video's frames the number, from 000000
  OUT/<input>/soft/<frame>.png    --soft: the object's probability, 0 to 255
  OUT/<input>/overlay.mp4         --overlay: masks drawn over the frames (overlay.png of an image)
  OUT/summary.json                frames, size, mean object area, time, warnings, failures
"""

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

DOCTOR = """\
Look at videos and frame folders, or at a benchmark: what is there, what is wrong, what will be skipped.

Every input is decoded whole and judged by the rules of the pipeline's ingest stage, with the limits of
./params.yaml (of the quickstart profile where there is none). Nothing is changed.
"""

PROFILE = """\
Make params.yaml a whole set of parameters, and print what changes. The `data` section of the file that is there
is kept. quickstart: the built-in corpus, minutes on a CPU. workstation: real videos, half an hour on a CPU. paper: the
papers' settings, days on 8 GPUs.
"""


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of this process, or `arguments`."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        command(**options)
    except OSError as error:  # a locked folder, a name too long, a disk that is gone
        raise UserError(f"{error.filename or 'the system'}: {error.strerror or error}") from error


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="amd", description=MANUAL, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands_of = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _segment(commands_of)
    _score(commands_of)
    _robustness(commands_of)
    _features(commands_of)
    _objectness(commands_of)
    _saliency(commands_of)
    _doctor(commands_of)
    _import(commands_of)
    _models(commands_of)
    _profile(commands_of)
    return parser


def _command(
    subparsers: Commands, name: str, call: Callable[..., None] | None, summary: str, text: str, example: str
) -> argparse.ArgumentParser:
    """A command's parser: `summary` stands in the list, `text` and `example` in its own help."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"example\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=call)
    return parser


def _segment(subparsers: Commands) -> None:
    example = "amd segment clip.mp4 photos/*.jpg frames/ --model models:/amd@champion --out out --overlay --adapt 100"
    parser = _command(subparsers, "segment", commands.segment, "masks of images and videos", SEGMENT, example)
    parser.add_argument("paths", metavar="INPUT", nargs="+", type=Path, help="an image, a folder or a video")
    parser.add_argument("--model", required=True, metavar="MODEL", help="see `amd --help`")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="where masks and summary go")
    parser.add_argument(
        "--adapt", metavar="N", type=_positive, help="adapt the model to each video for N iterations first (paper: 100)"
    )
    parser.add_argument("--overlay", action="store_true", help="also draw the masks over the frames")
    parser.add_argument("--soft", action="store_true", help="also write the object's probability")
    parser.add_argument("--segment", metavar="K", type=int, help="take segment K for the object")


def _score(subparsers: Commands) -> None:
    example = "amd score --dataset davis2016 --root DAVIS --predictions masks/davis2016 --json scores.json"
    parser = _command(subparsers, "score", commands.score, "J and F of masks on a benchmark", SCORE, example)
    parser.add_argument("--dataset", required=True, metavar="NAME", help=VIDEO_SETS)
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    parser.add_argument("--predictions", required=True, metavar="DIR", type=Path, help="<sequence>/<frame>.png")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")


def _robustness(subparsers: Commands) -> None:
    example = "amd robustness --dataset davis2016 --root DAVIS --model models:/amd@champion --further --pictures out"
    parser = _command(subparsers, "robustness", commands.robustness, "masks under corruptions", ROBUSTNESS, example)
    _benchmark_and_model(parser)
    parser.add_argument(
        "--band", metavar="PIXELS", type=_size, default=20.0, help="blurred band (default: %(default)s)"
    )
    parser.add_argument(
        "--blur", metavar="PIXELS", type=_size, default=5.0, help="deviation of the blur (default: %(default)s)"
    )
    parser.add_argument("--further", action="store_true", help="also noise, JPEG, motion blur and an occluding bar")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="also draw a frame of every sequence")


def _features(subparsers: Commands) -> None:
    example = "amd features --dataset davis2016 --root DAVIS --model resnet50.pth --out features"
    parser = _command(subparsers, "features", commands.features, "are objects apart in features?", FEATURES, example)
    _benchmark_and_model(parser)
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="where measures and figure go")


def _objectness(subparsers: Commands) -> None:
    example = "amd objectness --model models:/amd@champion --shards data/shards --pairs 8750 --figure segments.svg"
    parser = _command(subparsers, "objectness", commands.objectness, "statistics of the segments", OBJECTNESS, example)
    parser.add_argument("--model", required=True, metavar="MODEL", help="see `amd --help`")
    parser.add_argument("--shards", required=True, metavar="DIR", type=Path, help="as the pipeline writes them")
    parser.add_argument("--pairs", metavar="N", type=_positive, default=512, help="frame pairs (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write statistics and choices")
    parser.add_argument("--figure", metavar="FILE", type=Path, help="also draw them (.svg or .png)")


def _benchmark_and_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as davis2016")
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    parser.add_argument("--model", required=True, metavar="MODEL", help="see `amd --help`")


def _saliency(subparsers: Commands) -> None:
    example = "amd saliency --root DUTS-TE --model models:/amd@champion --json saliency.json"
    parser = _command(subparsers, "saliency", commands.saliency, "F-beta and MAE of soft maps", SALIENCY, example)
    parser.add_argument("--dataset", default="duts", choices=("duts", "folder"), help="default: %(default)s")
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the images with their masks")
    maps = parser.add_mutually_exclusive_group(required=True)
    maps.add_argument("--model", metavar="MODEL", help="see `amd --help`")
    maps.add_argument("--predictions", metavar="DIR", type=Path, help="<image>.png")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the scores with their protocol")


def _doctor(subparsers: Commands) -> None:
    example = "amd doctor my_videos clip.mkv\n  amd doctor --dataset davis2016 --root DAVIS"
    parser = _command(subparsers, "doctor", commands.doctor, "what is wrong with data", DOCTOR, example)
    parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="a video, a folder or a split file")
    parser.add_argument("--dataset", metavar="NAME", help=f"a benchmark instead: {VIDEO_SETS}, {IMAGE_SETS}")
    parser.add_argument("--root", metavar="DIR", type=Path, help="the benchmark's folder")


def _import(subparsers: Commands) -> None:
    text = "Rewrite the published reference's weights as a checkpoint. Code that is pickled in the file is not run."
    example = "amd import amd_pretrained.pth --out reference.safetensors"
    parser = _command(subparsers, "import", commands.import_, "the reference's weights as a checkpoint", text, example)
    parser.add_argument("reference", metavar="REFERENCE.pth", type=Path)
    parser.add_argument("--out", required=True, metavar="CKPT", type=Path, help="the checkpoint, .safetensors")


def _models(subparsers: Commands) -> None:
    text = "Look at the registered models, move the alias champion, or get one as a checkpoint file."
    parser = _command(subparsers, "models", None, "registered models", text, "amd models list")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "Print every registered version with its aliases, scores and what the gates said."
    _command(actions, "list", commands.models_list, "registered versions and their scores", text, "amd models list")
    text = "Make a version the champion, if it passes the gates against the present one."
    promote = _command(
        actions, "promote", commands.models_promote, "make a version the champion", text, "amd models promote amd 3"
    )
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    text = "Write a registered version's checkpoint to a file."
    example = "amd models pull models:/amd@champion --out champion.safetensors"
    pull = _command(actions, "pull", commands.models_pull, "a version as a checkpoint file", text, example)
    pull.add_argument("uri", metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION")
    pull.add_argument("--out", required=True, metavar="CKPT", type=Path, help="the file, or a folder for it")


def _profile(subparsers: Commands) -> None:
    parser = _command(subparsers, "profile", commands.profile, "write params.yaml", PROFILE, "amd profile paper")
    parser.add_argument("name", choices=("quickstart", "workstation", "paper"))
    parser.add_argument(
        "--write", metavar="FILE", type=Path, default=Path("params.yaml"), help="the file (default: %(default)s)"
    )


def _positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _size(text: str) -> float:
    """A number above zero, at most a thousand."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1000")
    return value


if __name__ == "__main__":
    main()
