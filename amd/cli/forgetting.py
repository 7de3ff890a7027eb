"""`amd forget`: what was made of one video is deleted, and what still knows it is named."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from amd.cli.arguments import Command, argument
from amd.runtime.errors import UserError

TABLES = ("index.parquet", "pairs.parquet", "evidence.parquet")
JOBS = ("working", "done", "failed")  # of an inbox
TEXTS = (".md", ".html", ".json", ".csv", ".yaml")
LARGEST_TEXT = 50_000_000  # bytes of a file that is searched for the video's name

FORGET = """\
Delete what the pipeline or `amd train` made of a video, and say what still knows it.

VIDEO is its path, its file name, or its video_id in the manifest. Deleted are its frame pairs and their motion evidence
(also in DVC's cache), its rows in the memory of ingest, and the tables that list it, which the next run makes anew;
with --inbox its results there. Your own file stays, and is named: the next run would take it in again. A file in the
inbox is deleted with --and-file alone. What holds it along with others (models, pictures of training, reports, MLflow)
is named, not deleted.
"""


@dataclass(frozen=True)
class Known:
    """A video by all its names."""

    video_id: str
    path: str  # as ingested; its bare name where no manifest tells

    @property
    def names(self) -> tuple[str, ...]:
        """What a file may call it."""
        return self.video_id, Path(self.path).name


def forget(video: str, project: Path, inbox: Path | None, and_file: bool) -> None:
    """Forget a video in a project's folder; a line per thing that is deleted or knows it. UserError if none does."""
    from amd.runtime.files import run_lock

    if not (project / "data").is_dir():
        raise UserError(f"{project}: no data/ there; give a project's folder, or the --out of `amd train`")
    with ExitStack() as stack:
        for name in ("ingest", "shard", "pretrain", "train"):
            stack.enter_context(run_lock(project / ".amd/locks" / name, name))
        known = _find(video, project)
        lines = [] if known is None else [*_delete(known, project), *_still(known, project)]
        if inbox is not None:
            lines += _empty_inbox(Path(video).name, inbox, and_file)
    if not lines:
        raise UserError(f"{video}: {project} knows no such video; give its path or a video_id of data/manifest.parquet")
    print("\n".join(lines))


def _find(video: str, project: Path) -> Known | None:
    """The video by the manifest, else by the shards alone. UserError where a name means several."""
    from amd.data.tables import MANIFEST, read_table

    manifest = project / "data/manifest.parquet"
    rows = read_table(manifest, MANIFEST) if manifest.is_file() else []
    same = lambda path: Path(path) == Path(video) or Path(path).absolute() == Path(video).absolute()
    for matches in (
        [row for row in rows if row["video_id"] == video or same(row["path"])],
        [row for row in rows if Path(row["path"]).name == video],
    ):
        if len(matches) > 1:
            names = ", ".join(row["video_id"] for row in matches[:5])
            raise UserError(f"{video}: {len(matches)} videos have this name; give one of their ids: {names}")
        if matches:
            return Known(matches[0]["video_id"], matches[0]["path"])
    if (project / f"data/shards/videos/{Path(video).name}.json").is_file():
        return Known(video, video)
    return None


def _delete(known: Known, project: Path) -> Iterator[str]:
    """Delete what is this video's alone, and the tables that name it."""
    shards = project / "data/shards"
    own = [*_tars(shards, known), shards / f"videos/{known.video_id}.json"]
    for path in [*_cached(known, own, project), *own, *(shards / name for name in TABLES)]:
        if path.is_file():
            path.unlink()
            yield f"deleted: {path}"
    for path in (project / "data/manifest.parquet", project / "data/manifest.md"):
        if path.is_file():
            path.unlink()
            yield f"deleted: {path}, which the next run makes anew"
    if (states := project / ".amd/pretrain").is_dir():
        shutil.rmtree(states)
        yield f"deleted: {states}, trainings that were not at their end"
    for memory in sorted((project / ".amd/ingest").glob("*.parquet")):
        if _drop_row(memory, known):
            yield f"deleted: its row in {memory}"
    if Path(known.path).exists():
        yield f"stays: {known.path}, which is yours; move it away, or the next run takes it in again"


def _tars(shards: Path, known: Known) -> list[Path]:
    return sorted(path for path in shards.glob(f"{known.video_id}-*.tar") if _is_of(path.name, known))


def _is_of(name: str, known: Known) -> bool:
    """Whether a file of data/shards is this video's: one id may begin another."""
    stem, _, number = name.removesuffix(".tar").rpartition("-")
    return (stem == known.video_id and number.isdigit()) or name == f"videos/{known.video_id}.json"


def _cached(known: Known, own: list[Path], project: Path) -> Iterator[Path]:
    """Copies of the video's shards and receipts in DVC's cache, of all runs whose folders it lists."""
    from hashlib import md5

    from amd.runtime.files import read_json

    cache = project / ".dvc/cache/files/md5"
    found = {md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in own if path.is_file()}
    for listing in cache.glob("*/*.dir"):
        found |= {entry["md5"] for entry in read_json(listing) if _is_of(entry["relpath"], known)}
    yield from (cache / name[:2] / name[2:] for name in sorted(found))


def _drop_row(memory: Path, known: Known) -> bool:
    """Take the video out of ingest's memory; False where it is not in it."""
    from amd.data.tables import MANIFEST, read_table, write_table

    rows = read_table(memory, MANIFEST)
    kept = [row for row in rows if known.video_id != row["video_id"] and known.path != row["path"]]
    if len(kept) < len(rows):
        write_table(memory, MANIFEST, kept)
    return len(kept) < len(rows)


def _still(known: Known, project: Path) -> Iterator[str]:
    """What knows the video along with others."""
    from amd.runtime.store import artifacts_of, database_of
    from amd.runtime.tracking import store_uri

    database = database_of(store_uri())
    artifacts = artifacts_of(database) if database else None
    if artifacts is None:
        yield f"look yourself: the MLflow server {store_uri()} may keep models, pictures and reports of it"
    for folder in filter(None, (project / "models", project / "metrics", project / "report", artifacts)):
        for path in sorted(folder.rglob("*")):
            if reason := _knows(path, known):
                yield f"knows it: {path} ({reason})"
    if (project / ".dvc/cache").is_dir():
        yield "may know it: earlier manifests in DVC's cache; `dvc gc -w` removes what is not in use"


def _knows(path: Path, known: Known) -> str:
    """Why a file knows the video; empty where it does not."""
    if path.suffix == ".safetensors" and path.is_file():
        return "a model trained on it" if known.video_id in _trained_on(path) else ""
    if path.name == "pictures" and path.is_dir():
        return "pictures of a training's batches, which may show it"
    if path.suffix in TEXTS and path.is_file() and path.stat().st_size <= LARGEST_TEXT:
        content = path.read_bytes()
        return "its name" if any(name.encode() in content for name in known.names) else ""
    return ""


def _trained_on(checkpoint: Path) -> list[str]:
    """The video_ids that a checkpoint says it was trained on; none of a file that is no checkpoint."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, framework="numpy") as file:
            info = json.loads((file.metadata() or {}).get("info", "{}"))
        return list(info["lineage"]["videos"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return []


def _empty_inbox(name: str, inbox: Path, and_file: bool) -> Iterator[str]:
    """Delete what the inbox made of every drop of that name, and with `and_file` the file itself."""
    from amd.runtime.files import read_json

    for claim in sorted(path for place in JOBS for path in inbox.glob(f"{place}/*/claim.json")):
        job, said = claim.parent, read_json(claim)
        if said.get("name") != name:
            continue
        file = job / Path(str(said["file"])).name
        if and_file:
            shutil.rmtree(job)
            yield f"deleted: {job}, with the file"
            continue
        for path in sorted(job.iterdir()):
            if path not in (file, claim):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                yield f"deleted: {path}"
        yield f"stays: {file}, which was dropped; --and-file deletes it, too"


COMMANDS = (
    Command("forget", "delete what was made of a video", FORGET, forget).used(
        "amd forget clip.mp4\n  amd forget clip.mp4 --project my_model --inbox inbox --and-file",
        argument("video", "its path, file name or video_id", "VIDEO"),
        argument("--project", "default: the current folder", "DIR", type=Path, default=Path()),
        argument("--inbox", "an inbox that it may have been dropped into", "DIR", type=Path),
        argument("--and-file", "delete the dropped file in the inbox, too", action="store_true"),
    ),
)
