"""`amd segment` with AMD: the object segment of each image, after adaptation to each video where that is wanted.

Enters: a model and what the command says. Leaves: masks of a source, made as amd.inference.segmenter makes them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amd.config import Adapt
from amd.data.video.decode import Source
from amd.inference.segmenter import Segmented, Wanted, segment_source
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, object_segment, weights_hash
from amd.models.loading import open_as
from amd.training.adaptation import adapt_to_source, adaptation_settings


@dataclass(frozen=True)
class AmdMethod:
    """An AMD and how it is used; see amd.inference.inputs.Method."""

    model: AMD
    info: ModelInfo
    chosen: int  # object segment
    adapt: Adapt | None  # None: the model as it is
    weights: str  # hash

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""
        adapt = self.adapt.iterations if self.adapt else None
        return {"object_segment": self.chosen, "short_edge": self.info.short_edge, "adapt": adapt}

    def key(self, source: Source) -> dict[str, Any]:
        """What masks are made of; the same for every source."""
        return {
            "weights": self.weights,
            "segment": self.chosen,
            "short_edge": self.info.short_edge,
            "adapt": self.adapt.model_dump() if self.adapt else None,
        }

    def segment(
        self, source: Source, folder: Path, soft: bool, overlay: bool, promised: int | None
    ) -> tuple[Segmented, list[str]]:
        """Write the masks of a source, frame by frame."""
        model, warnings = self._adapted(source) if self.adapt else (self.model, [])
        wanted = Wanted(self.chosen, self.info.short_edge, soft, overlay)
        return segment_source(model, source, wanted, folder, promised), warnings

    def _adapted(self, source: Source) -> tuple[AMD, list[str]]:
        """The model adapted to a source, or as it is with a warning that says why."""
        if source.is_one_image:
            return self.model, ["one image has no motion to adapt to; segmented with the model as it is"]
        adapted = adapt_to_source(self.model, self.info, source, self.adapt)
        if adapted is None:
            return self.model, [
                "nothing moves in it, so there is nothing to adapt to; segmented with the model as it is"
            ]
        return adapted, []


def open_amd(model_uri: str, adapt: int | None, segment: int | None) -> AmdMethod:
    """The method with the model that `model_uri` names; `adapt` and `segment` as of amd.inference.inputs."""
    model, info = open_as(AMD, model_uri, "auto")
    settings = adaptation_settings(info, adapt) if adapt else None
    return AmdMethod(model, info, object_segment(info, segment), settings, weights_hash(model))
