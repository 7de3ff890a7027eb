"""When the training of a model ends: while its objects agree ever better with what moves in videos that it never saw.

Input: the manifest, whose held-out videos no shard holds. Output: a judge for amd.training.keeping.
"""

import math
import sys
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from amd.data.ingest.held_out import JUDGES, held_out
from amd.models.amd import AMD
from amd.motion.footage import Footage, agreement, footage, middle_of, object_on_grid
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError

STRIDE = 4  # of a video's frames every which is looked at


class LeftOut:
    """Mean agreement of a model's object masks with the motion evidence of held-out videos, from 0 to 1."""

    def __init__(self, manifest: Path, segment: int, short_edge: int | None) -> None:
        self.rows = held_out(manifest, JUDGES)
        self.segment, self.short_edge = segment, short_edge

    def __call__(self, objective: nn.Module) -> float:
        """Of the objective's `model`, the mean over videos; nan where no frame's evidence is sure."""
        model = objective.get_submodule("model")
        if not isinstance(model, AMD):
            raise TypeError(f"no AMD: {type(model).__name__}")
        videos = [self._agreement(model, seen) for seen in self._footage]
        return float(np.mean(videos)) if videos else math.nan

    def _agreement(self, model: AMD, seen: Footage) -> float:
        sure = [number for number in range(0, len(seen.frames), STRIDE) if seen.sure[number]]
        masks = (object_on_grid(model, self.segment, self.short_edge, seen, number) for number in sure)
        return float(np.mean([agreement(mask, seen, number) for number, mask in zip(sure, masks, strict=True)]))

    @cached_property
    def _footage(self) -> list[Footage]:
        """Of the videos that have sure frames. One that does not decode is named on stderr."""
        found = []
        for row in self.rows:
            try:
                found.append(footage(middle_of(row), MotionSource()))
            except UserError as error:
                print(f"held out: left out: {error}", file=sys.stderr)
        return [seen for seen in found if any(seen.sure[::STRIDE])]
