"""`amd models` and `amd import`: registered models, and the reference's weights."""

from pathlib import Path

from amd.cli.arguments import Commands, command


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _import(subparsers)
    _models(subparsers)


def import_(reference: Path, out: Path) -> None:
    """The published reference's weights as a checkpoint."""
    from amd.models.checkpoint import load_checkpoint
    from amd.models.loading import import_reference
    from amd.runtime.errors import UserError

    if out.exists():
        try:
            load_checkpoint(out)
        except UserError:
            raise UserError(f"{out}: is there already and no checkpoint; give another --out") from None
    info = import_reference(reference, out)
    architecture = info.architecture
    print(f"{out}: {architecture.backbone}, {architecture.segments} segments, object segment {info.object_segment}")


def models_list() -> None:
    """The registered versions."""
    from amd.registry.listing import list_models

    list_models()


def models_history(name: str) -> None:
    """Who made what the champion, when and why."""
    from amd.registry.listing import print_history

    print_history(name)


def models_compare(first: str, second: str) -> None:
    """Two versions side by side."""
    from amd.registry.listing import compare

    compare(first, second)


def models_promote(name: str, version: str, reason: str) -> None:
    """Make a version the champion, through the gates."""
    from amd.registry.promotion import promote

    entry = promote(name, version, reason)
    print(f"models:/{name}/{version} is the champion{f': {entry.gates}' if entry else ' already'}")


def models_rollback(name: str, to: str | None, reason: str) -> None:
    """Bring an earlier champion back."""
    from amd.registry.promotion import rollback

    entry = rollback(name, to, reason)
    print(f"models:/{name}/{entry.version} is the champion again, after version {entry.before or 'none'}")


def models_pull(uri: str, out: Path, pyfunc: bool) -> None:
    """A registered version as files."""
    from amd.runtime.registered import pull, pull_pyfunc

    print(pull_pyfunc(uri, out) if pyfunc else pull(uri, out))


def models_relocate() -> None:
    """The store of a copied or moved project keeps its files beside itself again."""
    from amd.runtime.errors import UserError
    from amd.runtime.store import artifacts_of, database_of, relocate
    from amd.runtime.tracking import store_uri

    database = database_of(store_uri())
    if database is None:
        raise UserError("MLFLOW_TRACKING_URI names a server, which knows its own files; unset it in the copied project")
    places = relocate(database)
    print(f"{database}: keeps its files in {artifacts_of(database)}; {places} places rewritten")


def _import(subparsers: Commands) -> None:
    text = "Rewrite the published reference's weights as a checkpoint. Code that is pickled in the file is not run."
    example = "amd import amd_pretrained.pth --out reference.safetensors"
    parser = command(subparsers, "import", import_, "the reference's weights as a checkpoint", text, example)
    parser.add_argument("reference", metavar="REFERENCE.pth", type=Path)
    parser.add_argument("--out", required=True, metavar="CKPT", type=Path, help="the checkpoint, .safetensors")


def _models(subparsers: Commands) -> None:
    text = "Look at the registered models, choose the champion, or get one as files. docs/registry.md has the rules."
    parser = command(subparsers, "models", None, "registered models", text, "amd models list")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _look(actions)
    _choose(actions)
    text = "Let the MLflow store of a copied or moved project keep its files beside itself. Run it in that project."
    command(actions, "relocate", models_relocate, "after a project was copied or moved", text, "amd models relocate")
    text = "Write a registered version's checkpoint to a file, or with --pyfunc the whole model to a new folder."
    example = "amd models pull models:/amd@champion --out champion.safetensors"
    pull = command(actions, "pull", models_pull, "a version as files", text, example)
    pull.add_argument("uri", metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION")
    pull.add_argument("--out", required=True, metavar="PATH", type=Path, help="the file, or a folder for it")
    pull.add_argument(
        "--pyfunc", action="store_true", help="the whole model: mlflow.pyfunc.load_model(PATH) needs no project"
    )


def _look(actions: Commands) -> None:
    text = "Print every registered version with its aliases, scores, lineage and what the gates said."
    command(actions, "list", models_list, "registered versions and their scores", text, "amd models list")
    text = "Print who made which version the champion, when and why, and what the gates said."
    history = command(actions, "history", models_history, "all decisions", text, "amd models history amd")
    history.add_argument("name", metavar="NAME")
    text = "Print the scores of two versions per sequence, and the parameters and data that differ."
    example = "amd models compare models:/amd@champion models:/amd/3"
    compare = command(actions, "compare", models_compare, "two versions side by side", text, example)
    compare.add_argument("first", metavar="MODEL")
    compare.add_argument("second", metavar="MODEL")


def _choose(actions: Commands) -> None:
    text = "Make a version the champion, if it passes the gates against the present one."
    example = 'amd models promote amd 3 --reason "better on fast motion"'
    promote = command(actions, "promote", models_promote, "make a version the champion", text, example)
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    text = "Bring the previous champion back, at once and without asking the gates."
    example = 'amd models rollback amd --reason "misses small objects"'
    rollback = command(actions, "rollback", models_rollback, "bring the previous champion back", text, example)
    rollback.add_argument("name", metavar="NAME")
    rollback.add_argument("--to", metavar="VERSION", help="an earlier champion (default: the previous one)")
    for parser in (promote, rollback):
        parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the history")
