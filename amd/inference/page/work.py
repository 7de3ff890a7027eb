"""One job of the page, in a process with limits: `segment` a clip or a photo, or `export` what came of it.

    JOB/progress.json     phase, frames, rate; written while it works
    JOB/kept/masks, soft16, preview.*    what `segment` makes
    JOB/row.json          its facts, as in the summary of `amd segment`
    JOB/exports/KIND@THRESHOLD/    what `export` makes: one file; of a folder of pictures a zip

A file that is refused or fails is one line and exit status 2.
"""

import argparse
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from amd.config import Inbox
from amd.config.profiles import local_params
from amd.data.images import read_deep, read_mask
from amd.data.video.decode import Frame
from amd.data.video.limits import refuse_video
from amd.data.video.rules import INBOX, memory_reason, refuse_image
from amd.inference.choice import Choice
from amd.inference.export import EXPORTS, MaskedFrame
from amd.inference.inputs import find_sources, write_masks
from amd.inference.methods import open_method
from amd.inference.page.desk import EXPORTED, KEPT, PROGRESS, ROW
from amd.inference.page.preview import HALF, previewed
from amd.inference.selection import chosen_objects
from amd.inference.video import Video
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import read_json, write_json
from amd.runtime.processes import free_threads, keep_freed_memory, limit_memory, limit_threads

EVERY_S = 0.25  # between two words on progress

Item = TypeVar("Item")


@dataclass
class WatchedVideo(Video):
    """A video that writes down how far its frames and steps were taken."""

    told: Path = field(default=Path(PROGRESS))

    def frames(self, phase: str) -> Iterator[Frame]:
        """The wanted frames, as of Video."""
        return self._watched(super().frames(phase), phase, self.expected)

    def steps(self, phase: str, count: int) -> Iterator[int]:
        """The numbers below `count`, as of Video."""
        return self._watched(super().steps(phase, count), phase, count)

    def _watched(self, items: Iterator[Item], phase: str, total: int | None) -> Iterator[Item]:
        began = told = time.monotonic()
        done = 0
        tell(self.told, phase, done, total)
        for item in items:
            yield item
            done, now = done + 1, time.monotonic()
            if now - told >= EVERY_S or done == total:
                tell(self.told, phase, done, total, done / (now - began))
                told = now


def tell(path: Path, phase: str, done: int, total: int | None, rate: float = 0.0) -> None:
    """Write progress: frames or steps done of `total`, and how many a second."""
    write_json(path, {"phase": phase, "done": done, "total": total, "rate": round(rate, 2)})


def segment(file: Path, folder: Path, choice: Choice, limits: Inbox) -> None:
    """Masks, probabilities and the preview of one clip or photo. UserError when it is refused or cannot be read."""
    (source,) = find_sources([file])
    if reason := refuse_image(file, limits) if source.is_one_image else refuse_video(file, limits, INBOX):
        raise UserError(reason)
    if source.problem:
        raise UserError(source.problem)
    limit_threads(choice.threads)
    method = open_method(choice)
    video = WatchedVideo.of(source, told=folder / PROGRESS)
    refused: list[str] = []
    frames = previewed(_noted(method.masks(video), refused), folder / KEPT, source.is_one_image)
    row = write_masks(video, frames, ("masks", "soft16"), folder / KEPT)
    write_json(folder / ROW, {**row, "is_image": source.is_one_image, "refused": refused})


def export(file: Path, folder: Path, kind: str, threshold: float) -> None:
    """What `amd segment --export` calls `kind`, of masks at a threshold of the probability, as one file."""
    (source,) = find_sources([file])
    video = WatchedVideo.of(source, told=folder / PROGRESS)
    refused = frozenset(read_json(folder / ROW)["refused"])
    place = folder / EXPORTED / f"{kind}@{threshold:g}"
    part = place.with_name(f".{place.name}")
    shutil.rmtree(part, ignore_errors=True)  # of a run that failed
    part.mkdir(parents=True)
    place.mkdir(exist_ok=True)

    def masks(video: Video) -> Iterator[MaskedFrame]:
        return kept_frames(video, folder / KEPT, threshold, refused)

    write_masks(video, chosen_objects(masks, video, kind == "objects", (), ()), (kind,), part)
    name = f"{source.video_id}-{kind}" + ("" if threshold == HALF else f"-{threshold:g}")
    if EXPORTS[kind].place.endswith("/"):
        shutil.make_archive(str(place / name), "zip", part / kind)
    else:
        (made,) = part.glob("[!.]*")
        made.rename(place / f"{name}{made.suffix}")
    shutil.rmtree(part)


def kept_frames(video: Video, kept: Path, threshold: float, refused: frozenset[str]) -> Iterator[MaskedFrame]:
    """Each frame with the mask at `threshold`: at HALF the method's own; none in a frame that was `refused`."""
    for frame in video.frames("export"):
        name = video.name(frame.index)
        soft = read_deep(kept / "soft16" / f"{name}.png")
        own = threshold == HALF or name in refused
        mask = read_mask(kept / "masks" / f"{name}.png") if own else soft > threshold
        yield MaskedFrame(frame.index, name, frame.timestamp, frame.image, mask, soft)


def _noted(frames: Iterator[MaskedFrame], refused: list[str]) -> Iterator[MaskedFrame]:
    """The frames; the names of those whose mask is refused are appended."""
    for frame in frames:
        if frame.reason:
            refused.append(frame.name)
        yield frame


@exit_on_user_error
def main() -> None:
    """Do what the command line says."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep_freed_memory()
    limits = local_params().inbox
    limit_memory(limits.memory_mb)
    try:
        if options.action == "segment":
            choice = Choice(options.model, options.method, device=options.device, threads=free_threads())
            segment(options.file, options.folder, choice, limits)
        else:
            export(options.file, options.folder, options.kind, options.threshold)
    except UserError as error:
        raise UserError(memory_reason(str(error).removeprefix(f"{options.file}: "), limits)) from None
    except Exception as error:  # of a decoder or a network on input that nobody vouches for
        raise UserError(memory_reason(f"unexpected {type(error).__name__}: {error}", limits)) from None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m amd.inference.page.work", description="One job of the page.")
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("segment", "export"):
        action = actions.add_parser(name)
        action.add_argument("file", type=Path, help="what was dropped")
        action.add_argument("folder", type=Path, help="the job's")
    actions.choices["segment"].add_argument("--model", help="see `amd --help`; without it, what moves")
    actions.choices["segment"].add_argument("--method", help="as of `amd segment`")
    actions.choices["segment"].add_argument("--device", default="auto")
    actions.choices["export"].add_argument("--kind", choices=tuple(EXPORTS), required=True)
    actions.choices["export"].add_argument("--threshold", type=float, default=HALF)
    return parser.parse_args()


if __name__ == "__main__":
    main()
