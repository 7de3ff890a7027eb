"""The product: images or a video in, masks of the object out, frame by frame and in bounded memory.

Enters: an AMD with its ModelInfo, and a source of frames or a sequence of a benchmark. Leaves: masks (0 or 255) at
the frames' own size, the object segment's probability, an overlay to look at. The object is one segment, chosen
without labels (paper 3.5); a pixel belongs to its most probable segment.
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from amd.data.benchmarks.davis import Sequence
from amd.data.benchmarks.predictions import masks_folder, prediction_path, segments_folder
from amd.data.images import read_image, read_mask, write_labels, write_mask
from amd.data.video.decode import DecodeError, Frame, Source, read_frames
from amd.data.video.flaws import Flaws
from amd.draw.overlay import draw_mask
from amd.draw.video import encoded_video
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, object_segment
from amd.models.inference import label_map, object_mask, soft_masks
from amd.runtime.errors import UserError
from amd.runtime.files import write_bytes
from amd.runtime.progress import progress


def segment_sequence(model: AMD, info: ModelInfo, sequence: Sequence, folder: Path, dataset: str) -> None:
    """Write the object mask and the label map of every frame of a benchmark's sequence under `folder`.

    The files are those of amd.data.benchmarks.predictions. UserError when the model has no object segment or a frame
    cannot be read.
    """
    chosen = object_segment(info)
    for frame in sequence.frames:
        masks = soft_masks(model, torch.from_numpy(read_image(frame.image)), info.short_edge)
        labels = label_map(masks).cpu().numpy()
        write_mask(prediction_path(masks_folder(folder, dataset), sequence.name, frame.name), labels == chosen)
        write_labels(prediction_path(segments_folder(folder, dataset), sequence.name, frame.name), labels)


@dataclass(frozen=True)
class Wanted:
    """What to make of a source."""

    segment: int
    short_edge: int | None  # frames are resized to this to be segmented
    soft: bool = False
    overlay: bool = False


@dataclass
class Segmented:
    """What was made of a source."""

    frames: int = 0
    width: int = 0
    height: int = 0
    area: float = 0.0  # share of the object, summed over frames
    seconds: float = 0.0
    damage: str = ""  # why no more frames decode
    flaws: Flaws = field(default_factory=Flaws)  # lost frames, and frames of another size


def segment_source(model: AMD, source: Source, wanted: Wanted, folder: Path, promised: int | None = None) -> Segmented:
    """Write `folder`/masks/<frame>.png of every frame, with soft/ and an overlay where wanted.

    Frames come one at a time, whatever the length. Files that are there are taken as they are: an interrupted
    source goes on where it was. `promised` is the expected number of frames, for the progress line. A damaged
    end is told in the result; UserError when no frame decodes.
    """

    def masked(frames: Iterator[Frame]) -> Iterator[tuple[Frame, np.ndarray]]:
        name_of = frame_names(source)
        for frame in frames:
            yield frame, _frame_mask(model, frame.image, wanted, folder, name_of(frame.index))

    return follow_masks(masked, source, folder, wanted.overlay, promised)


def follow_masks(
    masked: Callable[[Iterator[Frame]], Iterator[tuple[Frame, np.ndarray]]],
    source: Source,
    folder: Path,
    overlay: bool,
    promised: int | None,
) -> Segmented:
    """What `masked` made of a source's frames: counted, and drawn where an overlay is wanted.

    `masked` takes the frames and gives each with its mask bool H,W, which it has written.
    """
    done, start = Segmented(), time.monotonic()
    with (
        closing(read_frames(source)) as decoded,
        progress(good_frames(decoded, done), source.video_id, promised, "frames") as frames,
        ExitStack() as stack,
    ):
        draw = _overlay(source, folder, stack) if overlay else None
        for frame, mask in masked(iter(frames)):
            if draw is not None:
                draw(frame, mask)
            done.height, done.width = mask.shape
            done.area += float(mask.mean())
            done.frames += 1
            done.flaws.see(frame)
        if done.frames == 0:
            raise UserError(f"{source.path}: no frame in it; replace or remove it")
    done.seconds = time.monotonic() - start
    return done


def frame_names(source: Source) -> Callable[[int], str]:
    """What names a source's masks, without suffix, by the index of the frame: of images their own name, else a number.

    A frame that was lost takes no other's number.
    """
    if source.frame_names is None:
        return "{:06d}".format
    stems = [Path(name).stem for name in source.frame_names]
    return (stems if len(set(stems)) == len(stems) else source.frame_names).__getitem__  # a.jpg beside a.png


def overlay_path(source: Source, folder: Path) -> Path:
    """Where the overlay of a source lies: of one image a picture, else a video."""
    return folder / ("overlay.png" if source.is_one_image else "overlay.mp4")


def good_frames(decoded: Iterable[Frame], done: Segmented) -> Iterator[Frame]:
    """Frames up to the damage, if there is any; none at all is the caller's to hear."""
    try:
        yield from decoded
    except DecodeError as error:
        if error.good_frames == 0:
            raise
        done.damage = error.reason


def _frame_mask(model: AMD, image: np.ndarray, wanted: Wanted, folder: Path, name: str) -> np.ndarray:
    """The object's mask, bool H,W, of one frame; written, or read where that was done before."""
    mask_path, soft_path = folder / "masks" / f"{name}.png", folder / "soft" / f"{name}.png"
    if mask_path.exists() and (not wanted.soft or soft_path.exists()):
        return read_mask(mask_path)
    masks = soft_masks(model, torch.from_numpy(image), wanted.short_edge)
    mask = object_mask(masks, wanted.segment).cpu().numpy()
    if wanted.soft:
        write_labels(soft_path, (masks[wanted.segment] * 255).round().to(torch.uint8).cpu().numpy())
    write_mask(mask_path, mask)
    return mask


def _overlay(source: Source, folder: Path, stack: ExitStack) -> Callable[[Frame, np.ndarray], None]:
    """What draws a frame with its mask into the source's overlay; `stack` finishes the file."""
    path = overlay_path(source, folder)
    if path.suffix == ".png":
        return lambda frame, mask: _write_picture(path, draw_mask(frame.image, mask))
    video = stack.enter_context(encoded_video(path))
    return lambda frame, mask: video.write(draw_mask(frame.image, mask), frame.timestamp)


def _write_picture(path: Path, image: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
