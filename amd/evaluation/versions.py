"""A benchmark as it is and under every corruption: in, its sequences; out, versions of them, and their frames as files.

Others can segment the written frames, and have their masks scored (amd.evaluation.robustness).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amd.data.images import read_image, write_image
from amd.data.sequences import BenchmarkFrame, Sequence, read_truth
from amd.errors import UserError
from amd.evaluation.corruptions import Corruption, further, slides
from amd.evaluation.predictions import prediction_path
from amd.params import Robustness
from amd.progress import progress

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
