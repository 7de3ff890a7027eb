"""The work of `amd segment`: any mix of images, frame folders and videos in, a folder of masks per input out.

    OUT/<video_id>/masks/<frame>.png    0 or 255, at the frame's own size
    OUT/<video_id>/soft/<frame>.png     probability of the object segment, 0 to 255, where wanted
    OUT/<video_id>/overlay.mp4          masks over frames (overlay.png of an image), where wanted
    OUT/<video_id>/receipt.json         what the masks were made of, and the input's row once they are whole
    OUT/summary.json                    a row per input: what was found, or why it failed

An input that fails stops no other. The same command again goes on where it was, and does nothing twice: masks
are kept as long as the model, its settings and the input's files are those of the receipt.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from amd.data.ingest.examine import LOST_SHARE
from amd.data.video.decode import Source
from amd.data.video.probe import probe, trimmed_frames
from amd.data.video.sources import IMAGE_SUFFIXES, find_inputs, video_id
from amd.inference.amd import open_amd
from amd.inference.segmenter import Segmented, overlay_path
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, run_lock, write_json

RECEIPT = "receipt.json"
NAMED_FAILURES = 3  # in the last line; the summary has all


class Method(Protocol):
    """A way from frames to masks, with its model; amd.inference.amd and amd.inference.transfer have one each."""

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""

    def key(self, source: Source) -> dict[str, Any]:
        """What masks are made of beside the source's files: masks of an equal key are equal."""

    def segment(
        self, source: Source, folder: Path, soft: bool, overlay: bool, promised: int | None
    ) -> tuple[Segmented, list[str]]:
        """Write the masks of a source, as amd.inference.segmenter does; gives what was made, and warnings."""


@dataclass(frozen=True)
class Setup:
    """What all inputs of a run share."""

    method: Method
    soft: bool
    overlay: bool

    def key(self, source: Source) -> dict[str, Any]:
        """What masks of `source` are made of."""
        return {"path": _shown(source.path), "files": _files_state(source), **self.method.key(source)}


def segment_inputs(
    paths: Sequence[Path],
    model_uri: str,
    out: Path,
    adapt: int | None = None,
    overlay: bool = False,
    soft: bool = False,
    segment: int | None = None,
    method: str = "amd",
    flow: str | None = None,
) -> None:
    """Segment everything that `paths` name into `out`; print and write the summary.

    `adapt` is the number of iterations of adaptation to each video, None for none; `segment` overrides the model's
    object segment; `flow` says where optical flow comes from, for the method transfer. UserError for a model that
    cannot be had or is of the other method, and, after all work, when an input failed.
    """
    setup = Setup(_open_method(method, model_uri, adapt, segment, flow), soft, overlay)
    with run_lock(out / ".segment.lock", f"amd segment --out {out}"):
        rows = [_row(source, setup, out / source.video_id) for source in find_sources(paths)]
        write_json(out / "summary.json", {"model": model_uri, **setup.method.summary(), "inputs": rows})
    print(format_summary(rows), f"masks and summary.json in {out}", sep="\n\n")
    _raise_failures(rows, out)


def _open_method(method: str, model_uri: str, adapt: int | None, segment: int | None, flow: str | None) -> Method:
    if method == "amd":
        if flow is not None:
            raise UserError("--flow: the method amd has its own flow; leave it out, or give --method transfer")
        return open_amd(model_uri, adapt, segment)
    if adapt is not None or segment is not None:
        option = "--adapt" if adapt is not None else "--segment"
        raise UserError(f"{option}: only the method amd has it; leave it out")
    from amd.inference.transfer import open_transfer  # SciPy's graphs and the CRF take a moment to import

    return open_transfer(model_uri, flow)


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """The sources of all paths, each once, with distinct ids; a path that cannot be used is one with a problem."""
    found = {(source.path.absolute(), source.frame_names): source for path in paths for source in _sources(path)}
    times = Counter(source.video_id for source in found.values())
    return [
        source if times[source.video_id] == 1 else replace(source, video_id=f"{source.video_id}-{_short_hash(place)}")
        for place, source in found.items()
    ]


def format_summary(rows: list[dict]) -> str:
    """The summary as text: a line per input, its warnings below it."""
    width = max(len(row["video_id"]) for row in rows)
    lines = [f"{'input':{width}}  {'frames':>6}  {'size':>9}  {'object':>6}  {'frames/s':>8}"]
    for row in rows:
        if row["failed"]:
            lines.append(f"{row['video_id']:{width}}  failed: {_printable(row['reason'])}")
            continue
        size = f"{row['width']}x{row['height']}"
        lines.append(
            f"{row['video_id']:{width}}  {row['frames']:6}  {size:>9}  {row['mean_area']:6.1%}  {row['fps']:8.1f}"
        )
        lines += [f"{'':{width}}  warning: {_printable(warning)}" for warning in row["warnings"]]
    return "\n".join(lines)


def _sources(path: Path) -> list[Source]:
    """The sources that one path of the command names."""
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return [Source(video_id(path.name), path.parent, (path.name,))]
    try:
        return find_inputs(path)
    except UserError as error:
        return [Source(video_id(path.name), path, problem=_without_path(error, path))]


def _row(source: Source, setup: Setup, folder: Path) -> dict:
    """One input segmented, or why it failed; nothing that goes wrong with it stops the others."""
    row = {"video_id": source.video_id, "path": _shown(source.path)}
    try:
        return row | {"failed": False} | _segmented(source, setup, folder)
    except UserError as error:
        reason = _without_path(error, source.path)
    except Exception as error:  # of a decoder or the network on input that nobody vouches for
        reason = " ".join(f"unexpected {type(error).__name__}: {error}".split())
    return row | {"failed": True, "reason": reason}


def _segmented(source: Source, setup: Setup, folder: Path) -> dict:
    """The columns of an input's row, from its receipt when it is done already."""
    if source.problem:
        raise UserError(source.problem)
    key, promised = setup.key(source), _promised(source)
    row = _resume(folder, key)
    if row is None or not _is_whole(source, row, setup, folder):
        write_json(folder / RECEIPT, {"key": key, "row": None})
        row = _segment(source, setup, folder, promised)
        write_json(folder / RECEIPT, {"key": key, "row": row})
    return row


def _segment(source: Source, setup: Setup, folder: Path, promised: int | None) -> dict:
    start = time.monotonic()
    done, warnings = setup.method.segment(source, folder, setup.soft, setup.overlay, promised)
    if done.damage and source.frame_names is not None:  # whoever made the folder can mend it
        raise UserError(
            f"only the first {done.frames} of {promised} images are segmented ({done.damage}); mend the folder, or "
            "give images that are no video one by one"
        )
    return {
        "frames": done.frames,
        "width": done.width,
        "height": done.height,
        "mean_area": done.area / done.frames,  # share of the frame
        "seconds": round(time.monotonic() - start, 3),  # with the adaptation
        "fps": round(done.frames / done.seconds, 3),  # frames segmented a second
        "warnings": warnings + _doubts(source, done, promised),
    }


def _doubts(source: Source, done: Segmented, promised: int | None) -> list[str]:
    """What a user should know of masks that were made."""
    doubts = []
    if done.damage:
        doubts.append(f"damaged: only the first {done.frames} frames decode ({done.damage})")
    elif source.frame_names is None and promised:
        lost = promised - done.frames
        if lost > 1 + LOST_SHARE * promised and lost > trimmed_frames(source.path):
            doubts.append(f"truncated: {done.frames} of {promised} frames are there")
    if done.area == 0:
        doubts.append("no pixel of any frame belongs to the object")
    return doubts


def _promised(source: Source) -> int | None:
    """How many frames there should be; None where the container does not say."""
    return probe(source.path).frames_promised if source.frame_names is None else len(source.frame_names)


def _resume(folder: Path, key: dict) -> dict | None:
    """The row of a finished input of the same key; what was made of another key is removed."""
    if not (folder / RECEIPT).exists():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: was not made by amd segment; move it away or choose another --out")
        return None
    receipt = _read_receipt(folder / RECEIPT)
    if receipt["key"] == key:
        return receipt["row"]
    if receipt["key"]["path"] != key["path"]:
        raise UserError(f"{folder}: holds the masks of {receipt['key']['path']}; choose another --out")
    for image in [*folder.glob("masks/*.png"), *folder.glob("soft/*.png")]:  # what else lies there is somebody else's
        image.unlink()
    for overlay in folder.glob("overlay.*"):
        overlay.unlink()
    return None


def _read_receipt(path: Path) -> dict:
    receipt = read_json(path)
    if isinstance(receipt, dict) and isinstance(receipt.get("key"), dict) and "path" in receipt["key"]:
        return {"row": None, **receipt}
    raise UserError(f"{path}: not a receipt of amd segment; remove its folder")


def _is_whole(source: Source, row: dict, setup: Setup, folder: Path) -> bool:
    """Whether everything that is wanted of a finished input is there."""
    kinds = ["masks", "soft"] if setup.soft else ["masks"]
    counts = {len(list((folder / kind).glob("*.png"))) for kind in kinds}
    return counts == {row["frames"]} and (not setup.overlay or overlay_path(source, folder).exists())


def _files_state(source: Source) -> str:
    """A hash that changes when a file of the source does: names, sizes and times of modification."""
    files = [source.path / name for name in source.frame_names] if source.frame_names is not None else [source.path]
    try:
        return _short_hash([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
    except OSError as error:
        raise UserError(f"{Path(error.filename).name}: not readable ({error.strerror})") from None


def _short_hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode(errors="backslashreplace")).hexdigest()[:16]


def _shown(path: Path) -> str:
    """An absolute path as text that JSON can hold."""
    return str(path.absolute()).encode(errors="backslashreplace").decode()


def _printable(text: str) -> str:
    """Text of strangers' names that cannot play tricks on a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _without_path(error: UserError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _raise_failures(rows: list[dict], out: Path) -> None:
    failed = [row for row in rows if row["failed"]]
    if failed:
        named = "; ".join(_printable(f"{Path(row['path']).name}: {row['reason']}") for row in failed[:NAMED_FAILURES])
        more = f"; and {len(failed) - NAMED_FAILURES} more in {out}/summary.json" * (len(failed) > NAMED_FAILURES)
        raise UserError(f"{len(failed)} of {len(rows)} inputs failed: {named}{more}")
