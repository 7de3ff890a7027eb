"""`amd profile`: whole sets of parameters."""

from pathlib import Path

from amd.cli.arguments import Commands, command

PROFILE = """\
Make params.yaml a whole set of parameters, and print what changes. The `data` section of the file that is there
is kept. quickstart: the built-in corpus, minutes on a CPU. workstation: real videos, half an hour on a CPU. paper: the
papers' settings, days on 8 GPUs.
"""


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _profile(subparsers)


def profile(name: str, write: Path) -> None:
    """Write a profile's parameters and say what changes."""
    from amd.config.profiles import write_profile

    changes = write_profile(name, write)
    print("\n".join(changes) or f"{write} is the profile {name} already")


def _profile(subparsers: Commands) -> None:
    parser = command(subparsers, "profile", profile, "write params.yaml", PROFILE, "amd profile paper")
    parser.add_argument("name", choices=("quickstart", "workstation", "paper"))
    parser.add_argument(
        "--write", metavar="FILE", type=Path, default=Path("params.yaml"), help="the file (default: %(default)s)"
    )
