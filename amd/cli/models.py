"""`amd models` and `amd import`: registered models, and the weights of other projects."""

from pathlib import Path

from amd.cli.arguments import Command, argument


def import_(file: Path, out: Path, videos: Path | None, segment: int | None, params: Path | None) -> None:
    """Another project's weights as a checkpoint."""
    from amd.training.importing import import_model

    info = import_model(file, out, videos, segment, params)
    architecture = info.architecture
    found = "no object segment yet" if info.object_segment is None else f"object segment {info.object_segment}"
    print(f"{out}: {architecture.backbone}, {architecture.segments} segments, {found}")


def export(model: str, format: str, out: Path) -> None:
    """A model's appearance pathway in a format of others."""
    from amd.inference.export_model import export_model

    difference = export_model(model, format, out)
    print(f"{out}: images B,3,H,W in [0, 1] to masks B,c,h,w; {difference:.1e} from the model at most")


def promote(name: str, version: str, why: str, anyway: bool) -> None:
    """Make a version the champion, through the gates or past them."""
    from amd.registry.promotion import promote

    entry = promote(name, version, why, anyway)
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


IMPORT = """\
Rewrite another project's weights as a checkpoint. Code that is pickled in the file is not run.

FILE is the published AMD .pth, or the ResNet of MoCo v2, DenseCL, DINO or torchvision, which a training begins with
(pretrain.start). Which segment is the object, no file says: give videos to measure it on without labels, or a number.
"""

EXPORT = """\
Write a model's appearance pathway as ONNX or TorchScript: images float32 B,3,H,W in [0, 1] of any batch and size in,
soft masks float32 B,c,h,w out, at the model's output stride. The file is run again and compared with the model before
it is written. Its metadata name the object segment and the short edge that images are resized to.
"""

NAME = argument("name", metavar="NAME")
REASON = argument("--reason", "why, for the history", "TEXT", dest="why", default="")

ACTIONS = (
    Command(
        "list",
        "registered versions and their scores",
        "Print every registered version with its aliases, scores, lineage and what the gates said.",
        "amd.registry.listing:list_models",
    ).used("amd models list"),
    Command(
        "history",
        "all decisions",
        "Print who made which version the champion, when and why, and what the gates said.",
        "amd.registry.listing:print_history",
    ).used("amd models history amd", NAME),
    Command(
        "compare",
        "two versions side by side",
        "Print the scores of two versions per sequence, and the parameters and data that differ.",
        "amd.registry.listing:compare",
    ).used(
        "amd models compare models:/amd@champion models:/amd/3",
        argument("first", metavar="MODEL"),
        argument("second", metavar="MODEL"),
    ),
    Command(
        "promote",
        "make a version the champion",
        "Make a version the champion, if it passes the gates against the present one.",
        promote,
    ).used(
        'amd models promote amd 3 --reason "better on fast motion"',
        NAME,
        argument("version", metavar="VERSION"),
        REASON,
        argument("--anyway", "also when the gates refuse it; needs --reason", action="store_true"),
    ),
    Command(
        "rollback",
        "bring the previous champion back",
        "Bring the previous champion back, at once and without asking the gates.",
        rollback,
    ).used(
        'amd models rollback amd --reason "misses small objects"',
        NAME,
        argument("--to", "an earlier champion (default: the previous one)", "VERSION"),
        REASON,
    ),
    Command(
        "relocate",
        "after a project was copied or moved",
        "Let the MLflow store of a copied or moved project keep its files beside itself. Run it in that project.",
        relocate_store,
    ).used("amd models relocate"),
    Command(
        "pull",
        "a version as files",
        "Write a registered version's checkpoint to a file, or with --pyfunc the whole model to a new folder.",
        pull,
    ).used(
        "amd models pull models:/amd@champion --out champion.safetensors",
        argument("uri", "models:/NAME@ALIAS or models:/NAME/VERSION", "MODEL"),
        argument("--out", "the file, or a folder for it", "PATH", required=True, type=Path),
        argument("--pyfunc", "the whole model: mlflow.pyfunc.load_model(PATH) needs no project", action="store_true"),
    ),
)

COMMANDS = (
    Command("import", "another project's weights as a checkpoint", IMPORT, import_).used(
        "amd import amd_pretrained.pth --out reference.safetensors --videos my_videos",
        argument("file", "the weights, as their project published them", "FILE", type=Path),
        argument("--out", "the checkpoint, .safetensors", "CKPT", required=True, type=Path),
        argument("--videos", "take the segment that moves most in these videos", "DIR", type=Path),
        argument("--segment", "take segment K for the object", "K", type=int),
        argument("--params", "params.yaml whose `model` a backbone begins (default: published)", "FILE", type=Path),
    ),
    Command("export", "a model as ONNX, TorchScript, or a checkpoint of half the size", EXPORT, export).used(
        "amd export models:/amd@champion --format onnx --out amd.onnx",
        argument("model", "see `amd --help`", "MODEL"),
        argument("--format", required=True, choices=("onnx", "torchscript", "half")),
        argument("--out", "the file: .onnx, .pt, or .safetensors", "FILE", required=True, type=Path),
    ),
    Command(
        "models",
        "registered models",
        "Look at the registered models, choose the champion, or get one as files. docs/registry.md has the rules.",
        actions=ACTIONS,
    ).used("amd models list"),
)
