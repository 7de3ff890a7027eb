"""A video's images to the features that the method works on (section 3.1).

Enters: images uint8 H,W,3 in order, a network (EmbeddingNetwork or one of stand_ins) and a source of optical flow.
Leaves: a FrameFeatures per image. A few images are in memory at a time.
"""

from collections.abc import Iterable, Iterator
from itertools import tee

import numpy as np
from torch import nn

from amd.data.flow import FlowFiles, PairFlow, flows
from amd.transfer.embedder import embed
from amd.transfer.frame import FrameFeatures, frame_features


def video_features(
    images: Iterable[np.ndarray], network: nn.Module, short_edge: int | None, source: PairFlow | FlowFiles
) -> Iterator[FrameFeatures]:
    """Embedding, objectness and flow of every image; images are resized to `short_edge` to be embedded."""
    shown, embedded, moving = tee(images, 3)
    described = embed(network, embedded, short_edge)
    for image, (embedding, objectness), flow in zip(shown, described, flows(moving, source), strict=True):
        yield frame_features(image, embedding, objectness, flow)
