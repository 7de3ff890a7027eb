"""`amd train`: from a pile of videos to a model, in a folder of its own, without DVC and Prefect."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amd.cli.arguments import Command, argument
from amd.runtime.errors import UserError

if TYPE_CHECKING:
    from amd.config import Params

MANIFEST, SHARDS, INDEX = Path("data/manifest.parquet"), Path("data/shards"), Path("data/shards/index.parquet")
PRETRAINED, CHECKPOINT = Path("models/pretrained.safetensors"), Path("models/amd.safetensors")
HISTORY, STATE, DONE, MARK = Path("metrics/pretrain.json"), Path(".amd"), Path(".amd/done"), Path(".amd/train.txt")

TRAIN = """\
Train a model on videos of one's own, without a label: the pipeline's stages one after another, in one folder. What
moves on its own is the object (motion evidence). The same command again goes on where it was; a video more or less
costs its own work and a new training.

VIDEOS is a folder of videos and frame folders, one video, or a split file. Of the videos DIR keeps frames and maps.

  DIR/params.yaml                the parameters (profile `own`); change them there, or give --params
  DIR/data/manifest.md           which videos were taken, and why others were not
  DIR/data/shards/               frame pairs with their motion evidence; evidence.parquet says how much moves where
  DIR/models/amd.safetensors     the model: `amd segment INPUT --method fused --model DIR/models/amd.safetensors`
"""


def train(videos: Path, out: Path, params: Path | None, register: bool) -> None:
    """Bring the model in `out` up to date with the videos; the functions are those of the pipeline's stages."""
    from amd.runtime.files import run_lock

    if not videos.exists():
        raise UserError(f"{videos}: no such file or folder; give a folder of videos")
    _claim(out)
    chosen = _parameters(out, params, videos)
    with run_lock(out / STATE / "locks/train", "amd train"):
        rows = _ingest(chosen, out)
        _shard(rows, chosen, out)
        _pretrain(chosen, out)
        _choose(chosen, out)
        print(f"{out / CHECKPOINT}: the model; `amd segment INPUT --method fused --model {out / CHECKPOINT}`")
        if register:
            _register(chosen, out)


def _claim(out: Path) -> None:
    """Make `out` a folder of `amd train`; UserError where somebody else's files are in it."""
    from amd.runtime.files import write_text

    mark = out / MARK
    if not mark.exists() and out.exists() and any(path.name != STATE.name for path in out.iterdir()):
        raise UserError(f"{out}: not empty and no folder of `amd train`; give --out another one")
    write_text(mark, "This folder is one of `amd train`.\n")


def _parameters(out: Path, given: Path | None, videos: Path) -> "Params":
    """The parameters of `out`, which are written there: those given, else those there, else the profile `own`."""
    from io import StringIO

    from ruamel.yaml import YAML

    from amd.config import load_params, parse_params
    from amd.config.profiles import profile_text
    from amd.runtime.files import write_text

    place = out / "params.yaml"
    source = given or (place if place.exists() else None)
    if source is not None:
        load_params(source)
    tree, text = YAML().load(source.read_text() if source else profile_text("own")), StringIO()
    tree["data"]["videos"] = str(videos)
    YAML().dump(tree, text)
    params = parse_params(text.getvalue(), str(source or "profile own"))
    for name, runner in (("ingest", params.ingest.runner), ("shard", params.shard.runner)):
        if runner != "processes":
            raise UserError(
                f"{source}: {name}.runner is {runner!r}; `amd train` works on this machine alone: set processes, or "
                "use the pipeline (dvc repro)"
            )
    write_text(place, text.getvalue())
    return params


def _ingest(params: "Params", out: Path) -> list[dict]:
    """The accepted rows; UserError when there is none."""
    from amd.data.ingest.examine import Limits
    from amd.data.ingest.held_out import hold_out
    from amd.data.ingest.manifest import ingest
    from amd.data.ingest.report import validation_report
    from amd.data.tables import HELD_OUT, write_table
    from amd.data.tables import MANIFEST as SCHEMA
    from amd.runtime.files import write_text

    memory = out / STATE / "ingest" / f"{Limits.of(params.ingest, params.shard).key()}.parquet"
    rows = ingest(Path(params.data.videos), params.ingest, params.shard, memory)
    hold_out(rows, params.ingest.held_out)
    write_table(out / MANIFEST, SCHEMA, rows)
    report = (out / MANIFEST).with_suffix(".md")
    write_text(report, validation_report(rows))
    accepted = [row for row in rows if row["status"] == "accepted"]
    if not accepted:
        raise UserError(f"{params.data.videos}: none of {len(rows)} inputs can be used; {report} says why")
    aside = sum(row["status"] == HELD_OUT for row in rows)
    print(f"{len(accepted)} of {len(rows)} inputs accepted, {aside} more held out; {report} says why")
    return accepted


def _shard(rows: list[dict], params: "Params", out: Path) -> None:
    from amd.data.pairs.write import write_shards
    from amd.motion.source import MotionSource

    evidence = MotionSource() if params.pretrain.objective.evidence else None
    new = write_shards(rows, out / SHARDS, params.shard, evidence)
    print(f"{out / SHARDS}: {new} new frame pairs")


def _pretrain(params: "Params", out: Path) -> None:
    from amd.training.launching import made_from, run_training

    start = params.pretrain.start
    if start is not None and not Path(start).is_file():
        raise UserError(f"pretrain.start: {start}: no such checkpoint; give a file")
    made = made_from(params, out / INDEX, Path(start) if start else None, out / MANIFEST)
    options = {"--params": out / "params.yaml", "--index": out / INDEX, "--start": start}
    options |= {"--out": out / PRETRAINED, "--history": out / HISTORY}
    options |= {"--left-out": out / MANIFEST if params.pretrain.patience else None}
    run = lambda: run_training("pretrain", params, made, options, out / STATE, {})
    _once(out, "pretrain", made, PRETRAINED, run)


def _choose(params: "Params", out: Path) -> None:
    from amd.runtime.files import sha256
    from amd.training.choosing import store_object

    settings = [params.objectness.model_dump(), params.predict.model_dump(), sha256(out / PRETRAINED)]
    store = lambda: store_object(out / PRETRAINED, out / CHECKPOINT, params, out / INDEX)
    _once(out, "objectness", settings, CHECKPOINT, store)


def _once(out: Path, name: str, made_from: Any, result: Path, work: Callable[[], object]) -> None:
    """Do the work unless its receipt stands and the result is as it was left."""
    from amd.runtime.files import sha256
    from amd.runtime.receipts import fingerprint, standing, write_sealed

    key, receipt, path = fingerprint(made_from), out / DONE / f"{name}.json", out / result
    known = standing(receipt, "made_from", key)
    if known is not None and path.is_file() and sha256(path) == known["sha256"]:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    (out / HISTORY).parent.mkdir(parents=True, exist_ok=True)
    work()
    write_sealed(receipt, {"made_from": key, "sha256": sha256(path)})


def _register(params: "Params", out: Path) -> None:
    """A version in the MLflow store of the current folder, or of MLFLOW_TRACKING_URI."""
    from amd.config import params_hash
    from amd.registry import register
    from amd.runtime.files import read_json
    from amd.runtime.tracking import stage_run

    with stage_run("train", params.model_dump(by_alias=True), {"params.sha256": params_hash(params)}) as run:
        made = register(out / CHECKPOINT, {}, read_json(out / HISTORY), params.register_, run, manifest=out / MANIFEST)
    print(f"{made.uri} {'is now the champion' if made.promoted else 'is not the champion'}: {made.reason}")


COMMANDS = (
    Command("train", "a model from videos of one's own", TRAIN, train).used(
        "amd train my_videos --out my_model --register",
        argument("videos", "a folder of videos, a video or a split file", "VIDEOS", type=Path),
        argument("--out", "a folder of its own", "DIR", required=True, type=Path),
        argument("--params", "parameters (default: DIR's, else the profile `own`)", "FILE", type=Path),
        argument("--register", "make the model a version in the MLflow registry", action="store_true"),
    ),
)
