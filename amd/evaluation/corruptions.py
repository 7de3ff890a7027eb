"""Corruptions of annotated frames: an image uint8 RGB H,W,3 and its mask bool H,W in, a new image of that size out.

Two are those of the slides "Investigating the Emergence of Objectness": the colours of the foreground inverted, and a
band around the annotated boundary blurred. The others are common in footage. All are pure: the same input gives the
same output. How strong they are is said by amd.config.Robustness.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg

from amd.config import Robustness
from amd.data.benchmarks.predictions import prediction_path
from amd.data.benchmarks.sequences import BenchmarkFrame, Sequence, read_truth
from amd.data.images import read_image, write_image
from amd.runtime.errors import UserError
from amd.runtime.progress import progress

Corruption: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]

GREY = 127  # of the occluding bar


def slides(strengths: Robustness) -> dict[str, Corruption]:
    """The corruptions of the slides' Table 1."""
    return {"inverted": invert_foreground, "blurred": partial(blur_edge, band=strengths.band, strength=strengths.blur)}


def further(strengths: Robustness) -> dict[str, Corruption]:
    """Corruptions of an image beyond the slides."""
    return {
        "noise": partial(add_noise, std=strengths.noise),
        "jpeg": partial(compress, quality=strengths.jpeg),
        "motion_blur": partial(blur_motion, length=strengths.motion),
        "bar": partial(occlude, width=strengths.bar),
    }


def invert_foreground(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every colour value v of the foreground becomes 255 - v."""
    return np.where(mask[..., None], 255 - image, image)


def blur_edge(image: np.ndarray, mask: np.ndarray, band: float, strength: float) -> np.ndarray:
    """Blur the band of pixels whose centres lie less than `band` / 2 from the mask's boundary; `strength` is sigma.

    The blur mixes in colours from outside the band; pixels outside it stay as they are.
    """
    blurred = cv2.GaussianBlur(image, (0, 0), strength)
    return np.where(edge_band(mask, band)[..., None], blurred, image)


def edge_band(mask: np.ndarray, band: float) -> np.ndarray:
    """Where a pixel's centre is less than `band` / 2 pixels from the boundary of a mask; bool H,W."""
    if mask.all() or not mask.any():
        return np.zeros_like(mask)
    inside, outside = (cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 0) for side in (mask, ~mask))
    # Distances are to the nearest pixel of the other side; the boundary runs half a pixel before its centre.
    return inside + outside - 0.5 < band / 2


def add_noise(image: np.ndarray, mask: np.ndarray, std: float) -> np.ndarray:
    """Add Gaussian noise to every value; the image itself is the seed, so that frames differ."""
    noise = np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).data)).normal(0, std, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def compress(image: np.ndarray, mask: np.ndarray, quality: int) -> np.ndarray:
    """What is left after JPEG of `quality` (1 to 100) with colours at half resolution."""
    code = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, colorsubsampling="420")
    return simplejpeg.decode_jpeg(code)


def blur_motion(image: np.ndarray, mask: np.ndarray, length: int) -> np.ndarray:
    """The mean of `length` neighbours in the row: the camera panned during the exposure."""
    return cv2.blur(image, (length, 1))


def occlude(image: np.ndarray, mask: np.ndarray, width: float) -> np.ndarray:
    """A grey bar from top to bottom through the middle of the foreground (of the frame where there is none).

    `width` is a share of the frame's. The annotation stays: an object behind the bar is still to be found.
    """
    columns = mask.nonzero()[1]
    middle = columns.mean() + 0.5 if columns.size else image.shape[1] / 2
    left = max(0, round(middle - width * image.shape[1] / 2))
    occluded = image.copy()
    occluded[:, left : max(left + 1, round(middle + width * image.shape[1] / 2))] = GREY
    return occluded


NORMAL = "normal"
FRAME_GAP = "frame_gap"


@dataclass(frozen=True)
class Version:
    """A benchmark under one corruption."""

    name: str
    sequences: list[Sequence]
    corrupt: Corruption

    def frames(self) -> Iterator[tuple[Sequence, BenchmarkFrame]]:
        """The frames that count."""
        return ((sequence, frame) for sequence in self.sequences for frame in sequence.scored_frames)

    def read(self, frame: BenchmarkFrame) -> tuple[np.ndarray, np.ndarray]:
        """The corrupted image uint8 H,W,3 and its truth bool H,W; UserError when their sizes differ."""
        image, truth = read_image(frame.image), read_truth(frame)
        if image.shape[:2] != truth.shape:
            raise UserError(
                f"{frame.truth}: {truth.shape[1]}x{truth.shape[0]} pixels, but its frame {frame.image} has "
                f"{image.shape[1]}x{image.shape[0]}; use the frames that the annotations were drawn on"
            )
        return self.corrupt(image, truth), truth


def versions(sequences: list[Sequence], strengths: Robustness, with_further: bool = True) -> list[Version]:
    """The benchmark as it is, inverted and blurred, and with other corruptions `with_further`.

    A frame gap keeps every frame of the same place in each stretch of `strengths.gap`. It changes nothing for what
    looks at single images, but the frames that count.
    """
    keep = lambda image, truth: image
    made = [Version(NORMAL, sequences, keep)]
    made += [Version(name, sequences, corrupt) for name, corrupt in slides(strengths).items()]
    if with_further:
        made += [Version(name, sequences, corrupt) for name, corrupt in further(strengths).items()]
        made.append(Version(FRAME_GAP, [_thinned(sequence, strengths.gap) for sequence in sequences], keep))
    return made


def write_frames(made: list[Version], folder: Path) -> None:
    """Write every annotated frame of every version as <version>/<sequence>/<frame>.png, for others to segment."""
    for version in made:
        for sequence in progress(version.sequences, version.name, unit="sequences"):
            for frame in sequence.frames:
                if frame.truth is not None:
                    path = prediction_path(folder / version.name, sequence.name, frame.name)
                    write_image(path, version.read(frame)[0])


def _thinned(sequence: Sequence, gap: int) -> Sequence:
    """Every `gap`-th frame, from the first that counts."""
    first = next((number for number, frame in enumerate(sequence.frames) if frame in sequence.scored_frames), 0)
    return Sequence(sequence.name, sequence.frames[first % gap :: gap], sequence.dataset)
