"""`amd doctor`: what is wrong with data."""

from pathlib import Path

from amd.cli.arguments import IMAGE_SETS, VIDEO_SETS, Commands, command
from amd.runtime.errors import UserError

DOCTOR = """\
Look at videos and frame folders, or at a benchmark: what is there, what is wrong, what will be skipped.

Every input is decoded whole and judged by the rules of the pipeline's ingest stage, with the limits of
./params.yaml (of the quickstart profile where there is none). Of a benchmark every image is decoded, and what is there
is compared with what its publication has. Nothing is changed.
"""


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _doctor(subparsers)


def doctor(paths: list[Path], dataset: str | None, root: Path | None) -> None:
    """What is wrong with videos, or what there is of a benchmark."""
    if bool(paths) == bool(dataset) or bool(dataset) != bool(root):
        raise UserError("amd doctor: give paths, or --dataset with --root")
    if dataset:
        _doctor_dataset(dataset, root)
    else:
        _doctor_paths(paths)


def _doctor(subparsers: Commands) -> None:
    example = "amd doctor my_videos clip.mkv\n  amd doctor --dataset davis2016 --root DAVIS"
    parser = command(subparsers, "doctor", doctor, "what is wrong with data", DOCTOR, example)
    parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="a video, a folder or a split file")
    parser.add_argument("--dataset", metavar="NAME", help=f"a benchmark instead: {VIDEO_SETS}, {IMAGE_SETS}")
    parser.add_argument("--root", metavar="DIR", type=Path, help="the benchmark's folder")


def _doctor_paths(paths: list[Path]) -> None:
    from amd.config.profiles import local_params
    from amd.data.ingest.manifest import ingest
    from amd.data.ingest.report import validation_report

    params = local_params()
    rows = [row for path in paths for row in ingest(path, params.ingest, params.shard)]
    print(validation_report(rows), end="")


def _doctor_dataset(dataset: str, root: Path) -> None:
    from amd.data.benchmarks.doctor import check_dataset

    print(check_dataset(dataset, root))
