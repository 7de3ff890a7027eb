"""What a registered model answers, by the kind of its checkpoint. This file travels with it (amd.registry.pyfunc).

Arrays give arrays: uint8 H,W,3, a batch of them, or an object array of images of any sizes. Of an AMD "mask" uint8
B,H,W, 0 or 255, and where asked for "soft" float32 B,c,H,W; of an instance embedding "embedding" float32 B,64,h,w and
"objectness" float32 B,h,w, on the network's own grid. Lists of arrays where sizes differ.

Text gives records, one for each, in order (what it may say: amd.inference.served):

    a PNG or JPEG    {"mask": PNG}, and where asked for "soft": PNG, 0 to 255
    a video          {"frames": [{"timestamp": seconds, "mask": PNG, "confidence": 0 to 1, "reason": if refused}, …]}

PNG is base64 text. Pictures are segmented by the model as it is, videos by what moves (`motion`) unless the parameter
`method` says otherwise: `fused` joins motion and the model, `amd` is the model on every frame, as of `amd segment`.
"""

import base64
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch

from amd.data.images import encode_png, read_image
from amd.data.video.decode import Frame, Source
from amd.inference.amd import AmdMethod, amd_method
from amd.inference.choice import Choice
from amd.inference.export.kinds import MaskedFrame
from amd.inference.methods import Method
from amd.inference.moving import open_moving
from amd.inference.served import is_picture, require_usable, served_file
from amd.inference.video import Video
from amd.models.amd import AMD
from amd.models.embedding import EmbeddingInfo, EmbeddingNetwork, embed_image
from amd.models.inference import object_mask, soft_masks
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.runtime.processes import free_threads

METHODS = ("motion", "fused", "amd")
TIMEOUT_VARIABLE = "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"  # seconds; `mlflow models serve` sets it
SHARE = 0.9  # of that time: the reason should come before the server gives up

Item = TypeVar("Item")


@dataclass
class TimedVideo(Video):
    """A video that has to be done in time: a server that gave up would compute on for nobody."""

    until: float = float("inf")  # of time.monotonic()

    def frames(self, phase: str) -> Iterator[Frame]:
        """The frames; UserError once it is too late."""
        return self._in_time(super().frames(phase))

    def steps(self, phase: str, count: int) -> Iterator[int]:
        """The numbers below `count`; UserError once it is too late."""
        return self._in_time(super().steps(phase, count))

    def _in_time(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            if time.monotonic() > self.until:
                raise UserError(f"not done in time; raise the server's --timeout ({TIMEOUT_VARIABLE}) or send less")
            yield item


class Segmenting:
    """Answers of an AMD."""

    def __init__(self, amd: AmdMethod, device: str) -> None:
        motion = open_moving(Choice(method="motion", device=device, threads=free_threads()), "motion")
        fused = replace(motion, opinion="fused", own=amd)
        self.amd = amd
        self.methods: dict[str, Method] = {"motion": motion, "fused": fused, "amd": amd}

    def array(self, image: np.ndarray, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Arrays of an image uint8 H,W,3."""
        soft = soft_masks(self.amd.model, torch.from_numpy(image), self.amd.info.short_edge)
        mask = object_mask(soft, self.amd.chosen).cpu().numpy().astype(np.uint8) * 255
        return {"mask": mask, **({"soft": soft.cpu().numpy()} if params.get("soft") else {})}

    def record(self, path: Path, params: Mapping[str, Any], until: float) -> dict[str, Any]:
        """The record of a picture or a video."""
        name = params.get("method") or ("amd" if is_picture(path) else "motion")
        if name not in METHODS:
            raise UserError(f"method {name!r}: choose of {', '.join(METHODS)}")
        names = (path.name,) if is_picture(path) else None
        place = path.parent if is_picture(path) else path
        source = Source("served", place, names, decoder="pyav", upright=True)
        soft = bool(params.get("soft"))
        frames = [_record(frame, soft) for frame in self.methods[name].masks(_video(source, until))]
        if names is not None:
            return {key: frames[0][key] for key in ("mask", "soft") if key in frames[0]}
        return {"frames": frames}


@dataclass(frozen=True)
class Embedding:
    """Answers of an instance embedding."""

    network: EmbeddingNetwork
    info: EmbeddingInfo

    def array(self, image: np.ndarray, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Arrays of an image uint8 H,W,3."""
        embedding, objectness = embed_image(self.network, image, self.info.short_edge)
        return {"embedding": embedding.cpu().numpy(), "objectness": objectness.cpu().numpy()}

    def record(self, path: Path, params: Mapping[str, Any], until: float) -> dict[str, Any]:
        """The record of a picture: its arrays."""
        if not is_picture(path):
            raise UserError("neither a PNG nor a JPEG; an instance embedding reads pictures alone")
        return dict(self.array(read_image(path, upright=True), params))


def open_answers(checkpoint: str, device: str) -> "Segmenting | Embedding":
    """What a checkpoint answers, on `device`; UserError for one that cannot be read."""
    network, info = open_model(checkpoint, device)
    if isinstance(network, EmbeddingNetwork):
        return Embedding(network, info)
    return Segmenting(amd_method(cast(AMD, network), info), device)


def answer(answers: "Segmenting | Embedding", given: Any, params: Mapping[str, Any]) -> Any:
    """Arrays of arrays, records of texts; UserError for what is neither, or both."""
    items = _items(given)
    texts = [isinstance(item, str | bytes) for item in items]
    if all(texts):
        until = time.monotonic() + SHARE * float(os.environ.get(TIMEOUT_VARIABLE, "inf"))
        return [_answer_text(answers, item, params, until) for item in items]
    if any(texts):
        raise UserError("images as arrays and images as text in one request; send one kind")
    found = [answers.array(as_image(item), params) for item in items]  # one by one: a batch changes no bit
    return {name: _stacked([each[name] for each in found]) for name in found[0]}


def as_image(given: Any) -> np.ndarray:
    """uint8 H,W,3 of whole numbers 0 to 255 of any type, as JSON has no uint8; UserError when it is none."""
    try:
        image = np.array(given.tolist() if isinstance(given, np.ndarray) and given.dtype == object else given)
    except ValueError:  # rows of different lengths
        image = np.zeros(0)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(f"an image has shape H,W,3, not {image.shape}")
    if not np.issubdtype(image.dtype, np.integer) or image.min() < 0 or image.max() > 255:
        raise UserError(f"an image has whole numbers from 0 to 255, not {image.dtype} {image.shape}")
    return np.array(image, dtype=np.uint8, order="C")


def _items(given: Any) -> list[Any]:
    """One image, a batch, a list, or one text, as a list of them."""
    if isinstance(given, str | bytes):
        given = [given]
    if isinstance(given, np.ndarray):
        given = given.reshape(1) if given.ndim == 0 else given[None] if given.ndim == 3 else given
    if not isinstance(given, np.ndarray | list | tuple) or len(given) == 0:
        raise UserError(f"an image, a batch or a list of them is needed, not {type(given).__name__}, or an empty one")
    return [item.item() if isinstance(item, np.generic) else item for item in given]


def _answer_text(
    answers: "Segmenting | Embedding", item: Any, params: Mapping[str, Any], until: float
) -> dict[str, Any]:
    with served_file(item) as path:
        require_usable(path)
        try:
            return answers.record(path, params, until)
        except UserError as error:
            raise UserError(_without_place(str(error), path)) from None


def _without_place(reason: str, path: Path) -> str:
    """Where the server keeps a file says nothing to who sent it."""
    for name in (path, path.parent, path.name):
        reason = reason.replace(f"{name}: ", "")
    return reason


def _video(source: Source, until: float) -> TimedVideo:
    return TimedVideo(source, quiet=True, until=until)


def _record(frame: MaskedFrame, soft: bool) -> dict[str, Any]:
    """A frame of a video as plain data."""
    record = {
        "timestamp": frame.timestamp,
        "mask": _png(frame.mask.astype(np.uint8) * 255),
        "confidence": frame.confidence,
    }
    if frame.reason:
        record["reason"] = frame.reason
    if soft and frame.soft is not None:
        record["soft"] = _png(np.rint(frame.soft * 255).astype(np.uint8))
    return record


def _png(pixels: np.ndarray) -> str:
    return base64.b64encode(encode_png(pixels)).decode("ascii")


def _stacked(arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return np.stack(arrays) if len({array.shape for array in arrays}) == 1 else arrays
