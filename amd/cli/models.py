"""`amd models` and `amd import`: registered models, and the reference's weights."""

from pathlib import Path

from amd.cli.arguments import Commands, command


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _import(subparsers)
    _models(subparsers)


def import_(reference: Path, out: Path) -> None:
    """The published reference's weights as a checkpoint."""
    from amd.loading import import_reference

    info = import_reference(reference, out)
    architecture = info.architecture
    print(f"{out}: {architecture.backbone}, {architecture.segments} segments, object segment {info.object_segment}")


def models_list() -> None:
    """The registered versions."""
    from amd.registry import list_models

    list_models()


def models_promote(name: str, version: str) -> None:
    """Move the champion's alias to a version."""
    from amd.registry import promote

    result = promote(name, version)
    print(f"{result.uri} is the champion: {result.reason}")


def models_pull(uri: str, out: Path) -> None:
    """A registered version's checkpoint as a file."""
    from amd.registry import pull

    print(pull(uri, out))


def _import(subparsers: Commands) -> None:
    text = "Rewrite the published reference's weights as a checkpoint. Code that is pickled in the file is not run."
    example = "amd import amd_pretrained.pth --out reference.safetensors"
    parser = command(subparsers, "import", import_, "the reference's weights as a checkpoint", text, example)
    parser.add_argument("reference", metavar="REFERENCE.pth", type=Path)
    parser.add_argument("--out", required=True, metavar="CKPT", type=Path, help="the checkpoint, .safetensors")


def _models(subparsers: Commands) -> None:
    text = "Look at the registered models, move the alias champion, or get one as a checkpoint file."
    parser = command(subparsers, "models", None, "registered models", text, "amd models list")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "Print every registered version with its aliases, scores and what the gates said."
    command(actions, "list", models_list, "registered versions and their scores", text, "amd models list")
    text = "Make a version the champion, if it passes the gates against the present one."
    promote = command(
        actions, "promote", models_promote, "make a version the champion", text, "amd models promote amd 3"
    )
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    text = "Write a registered version's checkpoint to a file."
    example = "amd models pull models:/amd@champion --out champion.safetensors"
    pull = command(actions, "pull", models_pull, "a version as a checkpoint file", text, example)
    pull.add_argument("uri", metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION")
    pull.add_argument("--out", required=True, metavar="CKPT", type=Path, help="the file, or a folder for it")
