"""Exports as a video to look at or to lay over another one; of a single image they are pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from amd.data.images import write_image
from amd.draw.colours import object_colour
from amd.draw.overlay import draw_mask
from amd.draw.video import H264, Coding, alpha_coding, encoded_video
from amd.inference.export.kinds import MaskedFrame, SourceInfo, Write
from amd.inference.export.pictures import cut_out

FRINGE = 8  # pixels around a cut-out whose colours are kept: codecs blend neighbouring colours into its edge


@contextmanager
def overlay(folder: Path, source: SourceInfo) -> Iterator[Write]:
    """The masks tinted and outlined over the frames; objects that are told apart in colours of their own."""
    with _drawn(folder / "overlay", H264, source) as write:
        yield lambda frame: write(_overlaid(frame), frame)


@contextmanager
def alpha(folder: Path, source: SourceInfo) -> Iterator[Write]:
    """The object cut out of the video, all else transparent."""
    with _drawn(folder / "alpha", alpha_coding(), source) as write:
        yield lambda frame: write(cut_out(frame) if source.is_one_image else _cut_out_with_fringe(frame), frame)


@contextmanager
def _drawn(place: Path, coding: Coding, source: SourceInfo) -> Iterator:
    """A function of a drawn picture and its frame that appends to a video, or writes the one picture."""
    if source.is_one_image:
        yield lambda image, frame: write_image(place.with_suffix(".png"), image)
        return
    with encoded_video(place.with_suffix(coding.suffix), coding) as video:
        yield lambda image, frame: video.write(image, frame.timestamp)


def _overlaid(frame: MaskedFrame) -> np.ndarray:
    if frame.ids is None:
        return draw_mask(frame.image, frame.mask)
    image = frame.image
    for number, mask in frame.objects():
        image = draw_mask(image, mask, object_colour(number))
    return image


def _cut_out_with_fringe(frame: MaskedFrame) -> np.ndarray:
    """RGBA uint8 H,W,4 whose colours reach FRINGE pixels beyond what is opaque."""
    kernel = np.ones((2 * FRINGE + 1, 2 * FRINGE + 1), np.uint8)
    near = cv2.dilate(frame.mask.astype(np.uint8), kernel)
    return np.dstack((frame.image * near[..., None], frame.mask * np.uint8(255)))
