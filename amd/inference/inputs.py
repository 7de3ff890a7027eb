"""The work of `amd segment`: any mix of images, frame folders and videos in, a folder of masks per input out.

    OUT/<name>/masks/<frame>.png    0 or 255, at the frame's own size; beside it what --export names
    OUT/<name>/receipt.json         what the masks were made of, and the input's row once they are whole
    OUT/summary.json                a row per input: what was found, or why it failed; also of earlier runs

An input that fails stops no other. The same command again goes on where it was, and does nothing twice. Masks of
another input of that name, or made with other settings, stay: the next folder is <name>-2 (amd.inference.places).
Folders of masks that lie in an input are left out. Photos are read upright, as their EXIF orientation says, and videos
by PyAV alone: nothing compares decoders here, as ingest does.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from amd.data.images import read_mask
from amd.data.ingest.examine import LOST_SHARE
from amd.data.video.decode import Source
from amd.data.video.probe import trimmed_frames
from amd.data.video.sources import find_inputs, is_one_image, video_id
from amd.inference.choice import Choice
from amd.inference.export import EXPORTS, MaskedFrame, SourceInfo, is_whole, open_exports
from amd.inference.methods import Method, open_method
from amd.inference.places import find_place, folder_name, mark, source_state, text_of
from amd.inference.selection import Point, chosen_objects, parse_point
from amd.inference.video import Span, Video
from amd.runtime.errors import UserError, printable
from amd.runtime.files import read_json, run_lock, write_json
from amd.runtime.processes import free_threads, limit_threads

SUMMARY = "summary.json"
UNSURE = 0.2  # mean confidence of shown frames; real clips below it had masks that come and go, or that are wrong
OFTEN = 0.25  # of the frames without a mask: more are said
NAMED_FAILURES = 3  # in the last line; the summary has all


@dataclass(frozen=True)
class Wanted:
    """What all inputs of a run share: the method, the part of each, and what is written of it."""

    method: Method
    exports: tuple[str, ...] = ("masks",)
    span: Span = field(default_factory=Span)
    objects: bool = False  # parts that stay apart get ids of their own
    keep: tuple[Point, ...] = ()  # the objects at these points stay, if there are any
    drop: tuple[Point, ...] = ()  # the objects at these points go

    def key(self, video: Video) -> dict[str, Any]:
        """What masks of a video are made of; an export that is wanted besides changes none."""
        source = video.source
        place = {"path": text_of(source.path), "files": source_state(source), "upright": source.upright}
        parts = {"objects": self.objects, "keep": list(map(str, self.keep)), "drop": list(map(str, self.drop))}
        span = {} if self.span.is_whole else {"span": asdict(self.span)}
        chosen = parts if self.objects or self.keep or self.drop else {}
        return {**place, **span, **chosen, **self.method.key(video)}


def segment_inputs(
    paths: Sequence[Path],
    out: Path = Path("segmented"),
    model: str | None = None,
    method: str | None = None,
    adapt: int | None = None,
    segment: int | None = None,
    flow: str | None = None,
    evidence: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    export: tuple[str, ...] = (),
    overlay: bool = False,
    soft: bool = False,
    start: float = 0.0,
    end: float | None = None,
    every: int = 1,
    objects: bool = False,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    raw_orientation: bool = False,
) -> None:
    """Segment everything that `paths` name into `out`; print and write the summary.

    `model`, `method`, `adapt`, `segment`, `flow`, `evidence` and `device` are those of amd.inference.choice.Choice;
    `threads` None takes what is free. `export` names what is written (amd.inference.export), beside masks; `start`,
    `end` (seconds) and `every` choose frames; `raw_orientation` takes photos as stored. UserError for words that do
    not go together and a model that cannot be had, and, after all work, when an input failed.
    """
    extra = ("soft",) * soft + ("overlay",) * overlay + ("objects",) * objects
    span = Span(start, end, every)
    kept = tuple(parse_point(text, "--keep") for text in keep)
    dropped = tuple(parse_point(text, "--drop") for text in drop)
    count = threads or free_threads()
    limit_threads(count)
    chosen = open_method(Choice(model, method, adapt, segment, flow, evidence, device, count))
    exports = tuple(dict.fromkeys(("masks", *export, *extra)))
    wanted = Wanted(chosen, exports, span, objects or "objects" in export, kept, dropped)
    with run_lock(out / ".segment.lock", f"amd segment --out {out}"):
        sources = find_sources(paths, raw_orientation)
        rows = [{**_row(source, wanted, out), "model": model} for source in sources]
        earlier = _earlier_rows(out, {row["video_id"] for row in rows})
        write_json(out / SUMMARY, {"model": model, **wanted.method.summary(), "inputs": earlier + rows})
    more = f", with {len(earlier)} inputs of earlier runs" if earlier else ""
    print(format_summary(rows), f"masks and summary.json in {out}{more}", sep="\n\n")
    _raise_failures(rows, out)


def find_sources(paths: Sequence[Path], raw_orientation: bool = False) -> list[Source]:
    """The sources of all paths, each once; a path that cannot be used is one with a problem.

    They are read upright unless `raw_orientation`, and videos by PyAV.
    """
    found = {(source.path.absolute(), source.frame_names): source for path in paths for source in _sources(path)}
    return [
        replace(source, video_id=folder_name(source), decoder="pyav", upright=not raw_orientation)
        for source in found.values()
    ]


def format_summary(rows: list[dict]) -> str:
    """The summary as text: a line per input, its warnings below it."""
    width = max(len(row["video_id"]) for row in rows)
    lines = [f"{'input':{width}}  {'frames':>6}  {'size':>9}  {'object':>6}  {'sure':>5}  {'seconds':>8}"]
    for row in rows:
        if row["failed"]:
            lines.append(f"{row['video_id']:{width}}  failed: {printable(row['reason'])}")
            continue
        size = f"{row['width']}x{row['height']}"
        figures = (
            f"{row['frames']:6}  {size:>9}  {row['mean_area']:6.1%}  {row['confidence']:5.2f}  {row['seconds']:8.1f}"
        )
        lines.append(f"{row['video_id']:{width}}  {figures}")
        lines += [f"{'':{width}}  warning: {printable(warning)}" for warning in row["warnings"]]
    return "\n".join(lines)


def _sources(path: Path) -> list[Source]:
    """The sources that one path of the command names."""
    if is_one_image(path):
        return [Source(video_id(path.name), path.parent, (path.name,))]
    try:
        return find_inputs(path)
    except UserError as error:
        return [Source(video_id(path.name), path, problem=_without_path(error, path))]


def _earlier_rows(out: Path, now: set[str]) -> list[dict]:
    """The rows of inputs that an earlier run wrote into `out`, without those that are segmented `now` and those whose
    masks are gone."""
    try:
        summary = read_json(out / SUMMARY)
    except UserError:  # the first run, or a summary that nobody can read any more
        return []
    rows = summary.get("inputs") if isinstance(summary, dict) else None
    known = [row for row in rows or () if isinstance(row, dict) and isinstance(row.get("video_id"), str)]
    return [
        {"model": summary.get("model"), **row}
        for row in known
        if row["video_id"] not in now and (row.get("failed") or (out / row["video_id"]).is_dir())
    ]


def _row(source: Source, wanted: Wanted, out: Path) -> dict:
    """One input segmented, or why it failed; nothing that goes wrong with it stops the others."""
    row = {"video_id": source.video_id, "path": text_of(source.path)}
    try:
        return row | {"failed": False} | _segmented(source, wanted, out)
    except UserError as error:
        reason = _without_path(error, source.path)
    except BrokenPipeError:  # nobody reads what is said any more: no fault of the input
        raise
    except Exception as error:  # of a decoder or the network on untrusted input
        reason = " ".join(f"unexpected {type(error).__name__}: {error}".split())
    return row | {"failed": True, "reason": reason}


def _segmented(source: Source, wanted: Wanted, out: Path) -> dict:
    """The columns of an input's row, from its receipt when it is done already."""
    if source.problem:
        raise UserError(source.problem)
    video = Video.of(source, wanted.span)
    key = wanted.key(video)
    folder, row = find_place(out, source.video_id, key)
    if row is None or not all(is_whole(name, folder, row["frames"]) for name in wanted.exports):
        mark(folder, key, None)
        if not {need for name in wanted.exports for need in EXPORTS[name].needs}:
            video.kept = lambda name: _written(folder / "masks" / f"{name}.png")
        frames = chosen_objects(wanted.method.masks, video, wanted.objects, wanted.keep, wanted.drop)
        row = write_masks(video, frames, wanted.exports, folder)
        mark(folder, key, row)
    return row | {"video_id": folder.name}


def write_masks(video: Video, frames: Iterable[MaskedFrame], exports: Sequence[str], folder: Path) -> dict:
    """Write every export of a video's masked frames, as they come, under `folder`; its row of the summary.

    UserError for a folder of images that does not decode to its end.
    """
    began, source = time.monotonic(), video.source
    info = SourceInfo(source.video_id, source.frame_names)
    tally = _Tally()
    with open_exports(exports, folder, info) as write:
        for frame in frames:
            write(frame)
            tally.add(frame)
    if video.damage and source.frame_names is not None:  # whoever made the folder can mend it
        done = f"only the first {tally.frames} of {video.promised} images are segmented ({video.damage})"
        raise UserError(f"{done}; mend the folder, or give images that are no video one by one")
    seconds = time.monotonic() - began
    return {
        **tally.columns(),
        "seconds": round(seconds, 3),
        "fps": round(tally.frames / seconds, 3),  # frames a second, with all that was done before the first mask
        "warnings": video.notes + tally.doubts() + _doubts(video, tally.frames),
    }


@dataclass
class _Tally:
    """What a video's masks add up to."""

    frames: int = 0
    width: int = 0
    height: int = 0
    area: float = 0.0  # summed over frames
    confidence: float = 0.0
    empty: int = 0  # frames without a mask that are not refused
    refused: dict[str, int] = field(default_factory=dict)  # frames by the reason

    def add(self, frame: MaskedFrame) -> None:
        """Count one frame."""
        self.height, self.width = frame.mask.shape
        self.frames += 1
        self.area += frame.area
        self.confidence += frame.confidence
        if frame.reason:
            self.refused[frame.reason] = self.refused.get(frame.reason, 0) + 1
        elif not frame.mask.any():
            self.empty += 1

    def columns(self) -> dict[str, Any]:
        """The row's columns."""
        return {
            "frames": self.frames,
            "width": self.width,
            "height": self.height,
            "mean_area": self.area / self.frames,  # share of the frame
            "confidence": round(self.confidence / self.frames, 4),
        }

    def doubts(self) -> list[str]:
        """Why masks are empty, a line per reason; and that those which are not should be looked at first."""
        if not self.refused and self.area == 0:
            return ["no pixel of any frame belongs to the object"]
        lines, shown = self._refusals(), self.frames - sum(self.refused.values())
        if shown and self.confidence / shown < UNSURE:
            sure = f"{self.confidence / shown:.2f}"
            lines.append(f"not sure of the object ({sure}); look at the masks before you use them")
        if self.empty > OFTEN * self.frames:
            lines.append(f"no object is seen in {self.empty} of {self.frames} frames")
        return lines

    def _refusals(self) -> list[str]:
        whole = {reason for reason, count in self.refused.items() if count == self.frames}
        return [reason if reason in whole else f"{reason} ({count} frames)" for reason, count in self.refused.items()]


def _written(path: Path) -> np.ndarray | None:
    """A mask that an interrupted run wrote."""
    return read_mask(path) if path.exists() else None


def _doubts(video: Video, frames: int) -> list[str]:
    """What a user should know of the frames that masks were made of."""
    doubts, source = [], video.source
    if video.damage:
        doubts.append(f"damaged: only the first {frames} frames decode ({video.damage})")
    elif source.frame_names is None and video.promised and video.span.is_whole:
        lost = video.promised - frames - video.flaws.lost
        if lost > 1 + LOST_SHARE * video.promised and lost > trimmed_frames(source.path):
            doubts.append(f"truncated: {frames} of {video.promised} frames are there")
    return doubts + video.flaws.texts()


def _without_path(error: UserError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _raise_failures(rows: list[dict], out: Path) -> None:
    failed = [row for row in rows if row["failed"]]
    if failed:
        named = "; ".join(printable(f"{Path(row['path']).name}: {row['reason']}") for row in failed[:NAMED_FAILURES])
        more = f"; and {len(failed) - NAMED_FAILURES} more in {out}/summary.json" * (len(failed) > NAMED_FAILURES)
        raise UserError(f"{len(failed)} of {len(rows)} inputs failed: {named}{more}")
