"""Seeds of one object linked over the video, and the track that is the object's (eqs. 8 to 10).

In, per frame the embeddings n,D, objectness n and motion saliency n of its seeds (n may differ by frame); out, the
number of the foreground's seed in every frame.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from amd.transfer.similarity import squared_distances

Ranking = Literal["both", "motion", "objectness"]


def link_seeds(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Tracks T,n0: each seed of the first frame, then always the next frame's seed most similar to the one before."""
    tracks = [np.arange(len(embeddings[0]))]
    for before, after in pairwise(embeddings):
        tracks.append(squared_distances(before, after).argmin(1)[tracks[-1]])
    return np.stack(tracks)


def track_scores(
    tracks: np.ndarray, objectness: Sequence[np.ndarray], saliency: Sequence[np.ndarray], ranking: Ranking
) -> np.ndarray:
    """F: the mean over frames of O·M along each track (or of one of the two alone), n0 values.

    In a video where nothing moves (a still, a single frame), motion says nothing and objectness decides alone.
    """
    seen = {
        "objectness": np.stack([values[seeds] for values, seeds in zip(objectness, tracks, strict=True)]),
        "motion": np.stack([values[seeds] for values, seeds in zip(saliency, tracks, strict=True)]),
    }
    if not any(values.any() for values in saliency):
        ranking = "objectness"
    return (seen["objectness"] * seen["motion"] if ranking == "both" else seen[ranking]).mean(0)


def foreground_track(tracks: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
    """The seed of the foreground in every frame, T: the best track's; None when no track scores above zero."""
    best = int(scores.argmax())
    return tracks[:, best] if scores[best] > 0 else None
