"""What is known of a frame before the object is: its seeds, their regions, objectness and motion (3.2 and 3.3)."""

from dataclasses import dataclass

import numpy as np

from amd.params import Transfer
from amd.transfer.frame import FrameFeatures
from amd.transfer.grid_graph import geodesic_regions, grid_edges
from amd.transfer.saliency import background_seeds, motion_saliency, region_flow
from amd.transfer.seeds import candidates, choose_seeds
from amd.transfer.similarity import edge_map


@dataclass(frozen=True)
class FrameSeeds:
    """The n seeds of a frame, in the order of choice."""

    points: np.ndarray  # n, flat indices into the grid
    embeddings: np.ndarray  # n,D
    objectness: np.ndarray  # n
    saliency: np.ndarray  # n, motion saliency M
    regions: np.ndarray  # h,w: the number of the nearest seed
    background: np.ndarray  # numbers of the initial background seeds


def find_seeds(frame: FrameFeatures, settings: Transfer) -> FrameSeeds:
    """Seeds of a frame with their regions and cues."""
    embeddings = frame.embedding.reshape(-1, frame.embedding.shape[-1])
    objectness = frame.objectness.ravel()
    places = candidates(edge_map(frame.embedding), settings.window)
    points = places[choose_seeds(embeddings[places], objectness[places], settings.seeds)]
    regions = geodesic_regions(grid_edges(frame.embedding), points)
    background = background_seeds(objectness[points], settings.background_seeds)
    saliency = motion_saliency(region_flow(frame.flow, regions, len(points)), background)
    return FrameSeeds(points, embeddings[points], objectness[points], saliency, regions, background)
