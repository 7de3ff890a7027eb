"""`amd segment` with Instance Embedding Transfer: the object of a whole video, by embeddings and what moves.

Input: an instance embedding network, a video, and a source of optical flow, or none: then the packaged networks say
what moves and looks like an object. Output: each frame with the object's mask. All frames are looked at before the
first mask, so a source that was interrupted starts anew.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amd.config import Crf, Transfer, own_section
from amd.config.profiles import load_profile
from amd.inference.export import MaskedFrame
from amd.inference.video import Video
from amd.models.amd import AMD
from amd.models.checkpoint import weights_hash
from amd.models.embedding import EmbeddingInfo, EmbeddingNetwork
from amd.models.evidence import PACKAGED
from amd.models.loading import open_as
from amd.motion.flow import FlowFiles, PairFlow, inverse_search
from amd.motion.per_image import PHOTOS
from amd.motion.together import packaged_maps
from amd.runtime.errors import UserError
from amd.runtime.files import sha256
from amd.transfer.amd_features import motion_flow
from amd.transfer.frame import video_features
from amd.transfer.video import segment_video

DENSE_INVERSE_SEARCH = "dis"


@dataclass(frozen=True)
class TransferMethod:
    """An embedding network and how it is used; see amd.inference.methods.Method."""

    network: EmbeddingNetwork
    info: EmbeddingInfo
    settings: Transfer
    crf: Crf
    flow: PairFlow | Path  # a folder of .flo files
    flow_key: str  # what the flow is made of
    weights: str  # hash
    threads: int = 2  # of the evidence's flow

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""
        cues = {"cues": self.settings.cues, "flow": None if self._sees_evidence else self.flow_key}
        return {"method": "transfer", **cues, "supervision": self.info.supervision}

    def key(self, video: Video) -> dict[str, Any]:
        """What masks are made of."""
        return {
            "weights": self.weights,
            "short_edge": self.info.short_edge,
            "evidence": [sha256(PACKAGED), sha256(PHOTOS)] if self._sees_evidence else None,
            "flow": self.flow_key,
            "flow_files": _files_state(self.flow / video.source.video_id) if isinstance(self.flow, Path) else None,
            "transfer": self.settings.model_dump(),
            "crf": self.crf.model_dump(),
        }

    def masks(self, video: Video) -> Iterator[MaskedFrame]:
        """Each frame with its mask; one image, which has no motion, is ranked by objectness alone."""
        settings, evidence = self.settings, self._sees_evidence
        if video.source.is_one_image:
            evidence = False
            settings = settings.model_copy(update={"ranking": "objectness"})
            video.notes.append("one image has no motion; its object is the one of the largest objectness")
        names: deque[str] = deque()  # of the frames that are read and whose flow is not
        flow: PairFlow | FlowFiles | Path = self.flow
        if isinstance(flow, Path):
            flow = FlowFiles(flow / video.source.video_id, iter(names.popleft, None))
        images = _named_images(video, names)
        device = next(self.network.parameters()).device
        cue = packaged_maps(video.images("flow and evidence"), device, self.threads) if evidence else nullcontext()
        with cue as maps:
            features = video_features(images, self.network, self.info.short_edge, flow, maps)
            results = segment_video(features, settings, self.crf)
            for result, frame in zip(results, video.frames("masks"), strict=False):
                name = video.name(frame.index)
                yield MaskedFrame(frame.index, name, frame.timestamp, frame.image, result.mask, result.probability)

    @property
    def _sees_evidence(self) -> bool:
        """Whether what moves and looks like an object stands for flow and objectness."""
        return self.settings.cues == "evidence"


def open_transfer(model_uri: str, flow: str | None, device: str = "auto", threads: int = 2) -> TransferMethod:
    """The method with the network that `model_uri` names.

    `flow` is "dis", a folder with <input>/<frame>.flo, or an AMD: the cues are then flow's. None: those of the model's
    own parameters, with the packaged networks where they are evidence. UserError for a model of another kind.
    """
    network, info = open_as(EmbeddingNetwork, model_uri, device)
    paper = load_profile("paper")
    settings, crf = own_section(info.params, paper.transfer), own_section(info.params, paper.crf)
    if flow is not None:
        settings = settings.model_copy(update={"cues": "flow"})
    source = _open_flow(flow, device)
    return TransferMethod(network, info, settings, crf, *source, weights_hash(network), threads)


def _named_images(video: Video, names: deque[str]) -> Iterator[np.ndarray]:
    """The frames' images; the name of each is put into `names` as it is read."""
    for frame in video.frames("features"):
        names.append(video.name(frame.index))
        yield frame.image


def _open_flow(flow: str | None, device: str) -> tuple[PairFlow | Path, str]:
    """The source of flow that the command names, and what it is made of."""
    if flow is None or flow == DENSE_INVERSE_SEARCH:
        return inverse_search, DENSE_INVERSE_SEARCH
    if Path(flow).is_dir():
        return Path(flow), str(Path(flow).absolute())
    try:
        model, _ = open_as(AMD, flow, device)
    except UserError as error:
        raise UserError(f"--flow {flow}: neither dis, nor a folder of .flo files, nor an AMD ({error})") from None
    return motion_flow(model), weights_hash(model)


def _files_state(folder: Path) -> list[list]:
    """Names, sizes and times of a folder's .flo files; UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; optical flow is read from <input>/<frame>.flo there")
    states = [(path.name, path.stat()) for path in sorted(folder.glob("*.flo"))]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]
