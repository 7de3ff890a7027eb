"""`amd models` and `amd import`: registered models, and the weights of other projects."""

from pathlib import Path

from amd.cli.arguments import Commands, command


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _import(subparsers)
    _export(subparsers)
    _models(subparsers)


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


IMPORT = """\
Rewrite another project's weights as a checkpoint. Code that is pickled in the file is not run.

FILE is the published AMD .pth, or the ResNet of MoCo v2, DenseCL, DINO or torchvision, which a training begins with
(pretrain.start). Which segment is the object, no file says: give videos to measure it on without labels, or a number.
"""


def _import(subparsers: Commands) -> None:
    example = "amd import amd_pretrained.pth --out reference.safetensors --videos my_videos"
    parser = command(subparsers, "import", import_, "others' weights as a checkpoint", IMPORT, example)
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--out", required=True, metavar="CKPT", type=Path, help="the checkpoint, .safetensors")
    parser.add_argument("--videos", metavar="DIR", type=Path, help="take the segment that moves most in these videos")
    parser.add_argument("--segment", metavar="K", type=int, help="take segment K for the object")
    parser.add_argument(
        "--params", metavar="FILE", type=Path, help="params.yaml whose `model` a backbone begins (default: published)"
    )


EXPORT = """\
Write a model's appearance pathway as ONNX or TorchScript: images float32 B,3,H,W in [0, 1] of any batch and size in,
soft masks float32 B,c,h,w out, at the model's output stride. The file is run again and compared with the model before
it is written. Its metadata name the object segment and the short edge that images are resized to.
"""


def _export(subparsers: Commands) -> None:
    example = "amd export models:/amd@champion --format onnx --out amd.onnx"
    parser = command(subparsers, "export", export, "a model as ONNX or TorchScript", EXPORT, example)
    parser.add_argument("model", metavar="MODEL", help="see `amd --help`")
    parser.add_argument("--format", required=True, choices=("onnx", "torchscript"))
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="the file: .onnx, or .pt")


def _models(subparsers: Commands) -> None:
    text = "Look at the registered models, choose the champion, or get one as files. docs/registry.md has the rules."
    parser = command(subparsers, "models", None, "registered models", text, "amd models list")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _look(actions)
    _choose(actions)
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
