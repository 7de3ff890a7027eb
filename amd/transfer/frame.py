"""What the method is given of one frame, on one grid (section 3.1).

The grid h,w is the embedding's own resolution; the image keeps its size H,W. Optical flow comes at the image's
size and is averaged to the grid, its vectors staying in pixels of the image. Evidence, where it is used, stands for
flow and objectness both: what moves on its own and looks like an object (amd.motion.together).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import IO, cast

import cv2
import numpy as np
from torch import nn

from amd.models.embedding import EmbeddingNetwork, embed
from amd.motion.flow import FlowFiles, PairFlow, flows
from amd.motion.together import Maps
from amd.runtime.errors import UserError


@dataclass(frozen=True)
class FrameFeatures:
    """One frame: its image, and per grid point its embedding, objectness and flow."""

    image: np.ndarray  # H,W,3 uint8 RGB
    embedding: np.ndarray  # h,w,D float32
    objectness: np.ndarray  # h,w float32, 0 to 1 (eq. 3), or evidence
    flow: np.ndarray | None  # h,w,2 float32, pixels of the image to the next frame, x then y; None beside evidence


def frame_features(
    image: np.ndarray, embedding: np.ndarray, objectness: np.ndarray, flow: np.ndarray | None = None
) -> FrameFeatures:
    """A checked frame, of which `flow` is H,W,2 at the image's size; without it `objectness` is evidence.

    Objectness of another resolution than the embedding is resized to it. Raises UserError for a flow of another
    size than the image, and for values that are not finite.
    """
    grid = embedding.shape[:2]
    if flow is not None and flow.shape != (*image.shape[:2], 2):
        raise UserError(
            f"optical flow of {_size(flow)} pixels for a frame of {_size(image)}; compute it at the frame's own size"
        )
    for name, values in (("embedding", embedding), ("objectness", objectness), ("optical flow", flow)):
        if values is not None and not np.isfinite(values).all():
            raise UserError(f"{name}: has values that are not finite; check the network or the file that it came from")
    return FrameFeatures(
        image,
        embedding.astype(np.float32, copy=False),
        to_grid(objectness, grid),
        None if flow is None else to_grid(flow, grid),
    )


def to_grid(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values H,W or H,W,C averaged over the cells of a grid of `size` (height, width), float32."""
    values = np.ascontiguousarray(values, np.float32)
    return values if values.shape[:2] == size else cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA)


def _size(values: np.ndarray) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"


def video_features(
    images: Iterable[np.ndarray],
    network: nn.Module,
    short_edge: int | None,
    source: PairFlow | FlowFiles,
    evidence: Maps | None = None,
) -> Iterator[FrameFeatures]:
    """What is seen in every image; images are resized to `short_edge` to be embedded.

    Where `evidence` is given, it stands for the network's objectness and for flow, which is then not computed.
    """
    shown, embedded = tee(images)
    described = embed(cast(EmbeddingNetwork, network), embedded, short_edge)
    if evidence is not None:
        for number, (image, (embedding, _)) in enumerate(zip(shown, described, strict=True)):
            yield frame_features(image, embedding, evidence[number])
        return
    shown, moving = tee(shown)
    for image, (embedding, objectness), flow in zip(shown, described, flows(moving, source), strict=True):
        yield frame_features(image, embedding, objectness, flow)


def keep(frames: Iterable[FrameFeatures], file: IO[bytes]) -> Iterator[FrameFeatures]:
    """Pass frames on, writing each to `file` (a temporary one, open for reading too)."""
    for frame in frames:
        flow = np.zeros(0) if frame.flow is None else frame.flow
        for values in (frame.image, frame.embedding, frame.objectness, flow):
            np.save(file, values, allow_pickle=False)
        yield frame


def kept(file: IO[bytes], count: int) -> Iterator[FrameFeatures]:
    """The first `count` frames of `file`, in order; several may read from one file in turn."""
    place = 0
    for _ in range(count):
        file.seek(place)
        image, embedding, objectness, flow = (np.load(file, allow_pickle=False) for _ in range(4))
        place = file.tell()
        yield FrameFeatures(image, embedding, objectness, flow if flow.size else None)
