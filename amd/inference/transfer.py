"""`amd segment` with Instance Embedding Transfer: the object of a whole video, by embeddings, objectness and motion.

Enters: an instance embedding network, a source of optical flow, and what the command says. Leaves: masks of a source
at the frames' own size. All frames are looked at before the first mask, so a source that was interrupted starts anew.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amd.config import Crf, Transfer, own_section
from amd.config.profiles import load_profile
from amd.data.images import write_labels, write_mask
from amd.data.video.decode import Frame, Source, read_frames
from amd.inference.segmenter import Segmented, follow_masks, frame_names, good_frames
from amd.models.amd import AMD
from amd.models.checkpoint import weights_hash
from amd.models.embedding import EmbeddingInfo, EmbeddingNetwork
from amd.models.loading import open_as
from amd.motion.flow import FlowFiles, PairFlow, inverse_search
from amd.runtime.errors import UserError
from amd.runtime.progress import progress
from amd.transfer.amd_features import motion_flow
from amd.transfer.frame import FrameFeatures, video_features
from amd.transfer.video import segment_video

DENSE_INVERSE_SEARCH = "dis"


@dataclass(frozen=True)
class TransferMethod:
    """An embedding network and how it is used; see amd.inference.inputs.Method."""

    network: EmbeddingNetwork
    info: EmbeddingInfo
    settings: Transfer
    crf: Crf
    flow: PairFlow | Path  # a folder of .flo files
    flow_key: str  # what the flow is made of
    weights: str  # hash

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""
        return {"method": "transfer", "flow": self.flow_key, "supervision": self.info.supervision}

    def key(self, source: Source) -> dict[str, Any]:
        """What masks are made of."""
        return {
            "weights": self.weights,
            "short_edge": self.info.short_edge,
            "flow": self.flow_key,
            "flow_files": _files_state(self.flow / source.video_id) if isinstance(self.flow, Path) else None,
            "transfer": self.settings.model_dump(),
            "crf": self.crf.model_dump(),
        }

    def segment(
        self, source: Source, folder: Path, soft: bool, overlay: bool, promised: int | None
    ) -> tuple[Segmented, list[str]]:
        """Write the masks of a source; one image, which has no motion, is ranked by objectness alone."""
        settings, warnings = self.settings, []
        if source.is_one_image:
            settings = settings.model_copy(update={"ranking": "objectness"})
            warnings = ["one image has no motion; its object is the one of the largest objectness"]

        def masked(frames: Iterator[Frame]) -> Iterator[tuple[Frame, np.ndarray]]:
            name_of = frame_names(source)
            with closing(read_frames(source)) as decoded:
                seen = progress(good_frames(decoded, Segmented()), f"{source.video_id} features", promised, "frames")
                results = segment_video(self._features(seen, source), settings, self.crf)
                for frame, result in zip(frames, results, strict=False):
                    name = name_of(frame.index)
                    if soft:
                        grey = np.rint(result.probability * 255).astype(np.uint8)
                        write_labels(folder / "soft" / f"{name}.png", grey)
                    write_mask(folder / "masks" / f"{name}.png", result.mask)
                    yield frame, result.mask

        return follow_masks(masked, source, folder, overlay, promised), warnings

    def _features(self, frames: Iterable[Frame], source: Source) -> Iterator[FrameFeatures]:
        names: deque[str] = deque()  # of the frames that are read and whose flow is not
        flow = FlowFiles(self.flow / source.video_id, iter(names.popleft, None)) if self._reads_flow else self.flow
        images = _named_images(frames, frame_names(source), names)
        return video_features(images, self.network, self.info.short_edge, flow)

    @property
    def _reads_flow(self) -> bool:
        return isinstance(self.flow, Path)


def open_transfer(model_uri: str, flow: str | None) -> TransferMethod:
    """The method with the network that `model_uri` names.

    `flow` is "dis" (or None), a folder with <input>/<frame>.flo, or an AMD. UserError for a model of another kind.
    """
    network, info = open_as(EmbeddingNetwork, model_uri, "auto")
    paper = load_profile("paper")
    settings, crf = own_section(info.params, paper.transfer), own_section(info.params, paper.crf)
    return TransferMethod(network, info, settings, crf, *_open_flow(flow), weights_hash(network))


def _named_images(frames: Iterable[Frame], name_of: Callable[[int], str], names: deque[str]) -> Iterator[np.ndarray]:
    """The frames' images; the name of each is put into `names` as it is read."""
    for frame in frames:
        names.append(name_of(frame.index))
        yield frame.image


def _open_flow(flow: str | None) -> tuple[PairFlow | Path, str]:
    """The source of flow that the command names, and what it is made of."""
    if flow is None or flow == DENSE_INVERSE_SEARCH:
        return inverse_search, DENSE_INVERSE_SEARCH
    if Path(flow).is_dir():
        return Path(flow), str(Path(flow).absolute())
    try:
        model, _ = open_as(AMD, flow, "auto")
    except UserError as error:
        raise UserError(f"--flow {flow}: neither dis, nor a folder of .flo files, nor an AMD ({error})") from None
    return motion_flow(model), weights_hash(model)


def _files_state(folder: Path) -> list[list]:
    """Names, sizes and times of a folder's .flo files; UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; optical flow is read from <input>/<frame>.flo there")
    states = [(path.name, path.stat()) for path in sorted(folder.glob("*.flo"))]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]
