"""`amd transfer`: the experiments of Instance Embedding Transfer on a benchmark."""

from pathlib import Path

from amd.cli.arguments import VIDEO_SETS, Commands, command
from amd.runtime.errors import UserError

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


def add(subparsers: Commands) -> None:
    """Add the command."""
    example = "amd transfer intervals --dataset davis2016 --root DAVIS --model embedding.safetensors --out out"
    parser = command(subparsers, "transfer", transfer, "experiments of Instance Embedding Transfer", TRANSFER, example)
    parser.add_argument("experiment", choices=(*NAMES, "all"), metavar="EXPERIMENT", help="one of the above")
    parser.add_argument("--dataset", required=True, metavar="NAME", help=f"one of {VIDEO_SETS}")
    parser.add_argument("--root", required=True, metavar="DIR", type=Path, help="the benchmark, as downloaded")
    parser.add_argument("--model", required=True, metavar="MODEL", help="an instance embedding, or an AMD")
    parser.add_argument("--features", choices=("embedding", "amd"), default="embedding", help="default: %(default)s")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="where scores and the figure go")


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
