"""`amd models` and `amd import`: registered models, and the reference's weights."""

from pathlib import Path

from amd.cli.arguments import Command, argument


def import_(reference: Path, out: Path) -> None:
    """The published reference's weights as a checkpoint."""
    from amd.models.loading import import_reference

    info = import_reference(reference, out)
    architecture = info.architecture
    print(f"{out}: {architecture.backbone}, {architecture.segments} segments, object segment {info.object_segment}")


def promote(name: str, version: str, why: str) -> None:
    """Make a version the champion, through the gates."""
    from amd.registry.promotion import promote

    entry = promote(name, version, why)
    print(f"models:/{name}/{version} is the champion{f': {entry.gates}' if entry else ' already'}")


def rollback(name: str, to: str | None, why: str) -> None:
    """Bring an earlier champion back."""
    from amd.registry.promotion import rollback

    entry = rollback(name, to, why)
    print(f"models:/{name}/{entry.version} is the champion again, after version {entry.before or 'none'}")


def pull(uri: str, out: Path, pyfunc: bool) -> None:
    """A registered version as files."""
    from amd.runtime.registered import pull, pull_pyfunc

    print(pull_pyfunc(uri, out) if pyfunc else pull(uri, out))


def relocate_store() -> None:
    """The store of a copied or moved project keeps its files beside itself again."""
    from amd.runtime.errors import UserError
    from amd.runtime.store import artifacts_of, database_of, relocate
    from amd.runtime.tracking import store_uri

    database = database_of(store_uri())
    if database is None:
        raise UserError("MLFLOW_TRACKING_URI names a server, which knows its own files; unset it in the copied project")
    places = relocate(database)
    print(f"{database}: keeps its files in {artifacts_of(database)}; {places} places rewritten")


NAME = argument("name", metavar="NAME")
REASON = argument("--reason", dest="why", metavar="TEXT", default="", help="why, for the history")

ACTIONS = (
    Command(
        "list",
        "registered versions and their scores",
        "Print every registered version with its aliases, scores, lineage and what the gates said.",
        "amd models list",
        "amd.registry.listing:list_models",
    ),
    Command(
        "history",
        "all decisions",
        "Print who made which version the champion, when and why, and what the gates said.",
        "amd models history amd",
        "amd.registry.listing:print_history",
        (NAME,),
    ),
    Command(
        "compare",
        "two versions side by side",
        "Print the scores of two versions per sequence, and the parameters and data that differ.",
        "amd models compare models:/amd@champion models:/amd/3",
        "amd.registry.listing:compare",
        (argument("first", metavar="MODEL"), argument("second", metavar="MODEL")),
    ),
    Command(
        "promote",
        "make a version the champion",
        "Make a version the champion, if it passes the gates against the present one.",
        'amd models promote amd 3 --reason "better on fast motion"',
        promote,
        (NAME, argument("version", metavar="VERSION"), REASON),
    ),
    Command(
        "rollback",
        "bring the previous champion back",
        "Bring the previous champion back, at once and without asking the gates.",
        'amd models rollback amd --reason "misses small objects"',
        rollback,
        (NAME, argument("--to", metavar="VERSION", help="an earlier champion (default: the previous one)"), REASON),
    ),
    Command(
        "relocate",
        "after a project was copied or moved",
        "Let the MLflow store of a copied or moved project keep its files beside itself. Run it in that project.",
        "amd models relocate",
        relocate_store,
    ),
    Command(
        "pull",
        "a version as files",
        "Write a registered version's checkpoint to a file, or with --pyfunc the whole model to a new folder.",
        "amd models pull models:/amd@champion --out champion.safetensors",
        pull,
        (
            argument("uri", metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION"),
            argument("--out", required=True, metavar="PATH", type=Path, help="the file, or a folder for it"),
            argument(
                "--pyfunc", action="store_true", help="the whole model: mlflow.pyfunc.load_model(PATH) needs no project"
            ),
        ),
    ),
)

COMMANDS = (
    Command(
        "import",
        "the reference's weights as a checkpoint",
        "Rewrite the published reference's weights as a checkpoint. Code that is pickled in the file is not run.",
        "amd import amd_pretrained.pth --out reference.safetensors",
        import_,
        (
            argument("reference", metavar="REFERENCE.pth", type=Path),
            argument("--out", required=True, metavar="CKPT", type=Path, help="the checkpoint, .safetensors"),
        ),
    ),
    Command(
        "models",
        "registered models",
        "Look at the registered models, choose the champion, or get one as files. docs/registry.md has the rules.",
        "amd models list",
        actions=ACTIONS,
    ),
)
