"""`amd doctor` and `amd profile`: what is wrong with data, and whole sets of parameters."""

from pathlib import Path

from amd.cli.arguments import IMAGE_SETS, VIDEO_SETS, Command, argument
from amd.runtime.errors import UserError

DOCTOR = """\
Look at videos and frame folders, or at a benchmark: what is there, what is wrong, what will be skipped.

Every input is decoded whole and judged by the rules of the pipeline's ingest stage, with the limits of
./params.yaml (of the quickstart profile where there is none). Of a benchmark every image is decoded, and what is there
is compared with what its publication has. Nothing is changed. The exit status is 2 when no input can be used, or when
a file of the benchmark is damaged.
"""

PROFILE = """\
Make params.yaml a whole set of parameters, and print what changes. The `data` section of the file that is there
is kept. quickstart: the built-in corpus, minutes on a CPU. workstation: real videos, half an hour on a CPU. own: the
same from motion evidence. paper: the papers' settings, days on 8 GPUs.
"""


def doctor(paths: list[Path], dataset: str | None, root: Path | None) -> None:
    """What is wrong with videos, or what there is of a benchmark."""
    if bool(paths) == bool(dataset) or bool(dataset) != bool(root):
        raise UserError("amd doctor: give paths, or --dataset with --root")
    if dataset and root:
        from amd.data.benchmarks.doctor import check_dataset

        damaged: list[str] = []
        print(check_dataset(dataset, root, damaged.append))
        if damaged:
            more = f"; and {len(damaged) - 1} more named above" * (len(damaged) > 1)
            raise UserError(f"{damaged[0]}{more}")
        return
    from amd.config.profiles import local_params
    from amd.data.ingest.manifest import ingest
    from amd.data.ingest.report import terminal_report

    params, notes = local_params(), list[str]()
    rows = [row for path in paths for row in ingest(path, params.ingest, params.shard, report=notes.append)]
    print(terminal_report(rows, notes), end="")
    if all(row["status"] == "rejected" for row in rows):
        raise UserError(f"none of {len(rows)} inputs can be used; the reasons stand above")


def profile(name: str, write: Path) -> None:
    """Write a profile's parameters and say what changes."""
    from amd.config.profiles import write_profile

    changes = write_profile(name, write)
    print("\n".join(changes) or f"{write} is the profile {name} already")


COMMANDS = (
    Command("doctor", "what is wrong with data", DOCTOR, doctor).used(
        "amd doctor my_videos clip.mkv\n  amd doctor --dataset davis2016 --root DAVIS",
        argument("paths", "a video, a folder or a split file", "PATH", nargs="*", type=Path),
        argument("--dataset", f"a benchmark instead: {VIDEO_SETS}, {IMAGE_SETS}", "NAME"),
        argument("--root", "the benchmark's folder", "DIR", type=Path),
    ),
    Command("profile", "write params.yaml", PROFILE, profile).used(
        "amd profile paper",
        argument("name", choices=("quickstart", "workstation", "own", "paper")),
        argument("--write", "the file (default: %(default)s)", "FILE", type=Path, default=Path("params.yaml")),
    ),
)
