"""What masks are written as: every kind of file that `amd segment` makes, chosen by name.

    masks/<frame>.png    0 or 255                        rgba/<frame>.png     the object cut out, the rest transparent
    soft/<frame>.png     probability, 0 to 255           alpha.webm           the cut-out as a video with transparency
    soft16/<frame>.png   probability, 0 to 65535         overlay.mp4          masks drawn over the frames
    objects/<frame>.png  ids of the objects, 0 for none  boxes.csv            a box per object and frame
    coco.json            COCO's format, masks as RLE     timestamps.csv       when each frame is shown

Input: upright frames with their masks, one at a time, in order. Output: those files at the frames' own size, whole
or absent; memory does not grow with the length. An export that was interrupted is made again from the first frame.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from amd.inference.export import pictures, tables, video
from amd.inference.export.kinds import Kind, MaskedFrame, SourceInfo, Write
from amd.runtime.errors import UserError

__all__ = ["EXPORTS", "Kind", "MaskedFrame", "SourceInfo", "is_whole", "open_exports", "parse_exports"]

EXPORTS: dict[str, Kind] = {
    "masks": Kind(pictures.masks, "masks/", "the mask as PNG, 0 or 255"),
    "soft": Kind(pictures.soft, "soft/", "the object's probability as PNG, 0 to 255", ("soft",)),
    "soft16": Kind(pictures.soft16, "soft16/", "the object's probability as 16-bit PNG, 0 to 65535", ("soft",)),
    "objects": Kind(pictures.objects, "objects/", "the objects' ids as PNG, 0 for none", ("ids",)),
    "rgba": Kind(pictures.rgba, "rgba/", "the object cut out as PNG, the rest transparent"),
    "alpha": Kind(video.alpha, "alpha.*", "the cut-out as a video with transparency (a PNG of one image)"),
    "overlay": Kind(video.overlay, "overlay.*", "masks drawn over the frames: MP4 (a PNG of one image)"),
    "coco": Kind(tables.coco, "coco.json", "COCO's JSON, masks as RLE"),
    "boxes": Kind(tables.boxes, "boxes.csv", "a line per object and frame: box in pixels, area"),
    "timestamps": Kind(tables.timestamps, "timestamps.csv", "a line per frame: when it is shown, in seconds"),
}


def parse_exports(text: str) -> tuple[str, ...]:
    """The names in "masks,coco", each once, in order; UserError for a name that is none of EXPORTS."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in EXPORTS:
            raise UserError(f"--export {text}: {name!r} is no export; choose of {', '.join(EXPORTS)}")
    return tuple(dict.fromkeys(names))


@contextmanager
def open_exports(names: Sequence[str], folder: Path, source: SourceInfo) -> Iterator[Write]:
    """Give the function that writes a MaskedFrame to every export of `names` under `folder`.

    Frames come in order, all of one size. Files of the whole source (videos, tables) appear when the body has ended
    well; after an exception they are absent. ValueError for a frame that lacks what an export needs.
    """
    needs = {need for name in names for need in EXPORTS[name].needs}
    with ExitStack() as stack:
        writers = [stack.enter_context(EXPORTS[name].open(folder, source)) for name in names]

        def write(frame: MaskedFrame) -> None:
            frame.check(needs)
            for writer in writers:
                writer(frame)

        yield write


def is_whole(name: str, folder: Path, frames: int) -> bool:
    """Whether an export of a source of so many frames is there."""
    place = EXPORTS[name].place
    if place.endswith("/"):
        return sum(1 for _ in (folder / place).glob("[!.]*.png")) == frames
    return any(folder.glob(place))
