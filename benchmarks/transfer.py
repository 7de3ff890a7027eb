"""Instance Embedding Transfer without its network: seconds a frame of 854x480 on one core.

A whole frame against the 0.5 s that it may take. One thread, whatever the machine has.
"""

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from amd.config.profiles import load_profile
from amd.motion.flow import inverse_search
from amd.transfer.crf import refine
from amd.transfer.frame import FrameFeatures, frame_features
from amd.transfer.posterior import at_image_size, foreground_probability
from amd.transfer.seeds import find_seeds
from amd.transfer.tracks import seed_sets
from benchmarks.clips import frames
from benchmarks.measure import Row, Setting, goal, in_turn

FRAME_S = 0.5
HEIGHT, WIDTH = 480, 854
STRIDES = (8, 4)  # of the network: the paper's, and the small one's
PAPER = load_profile("paper")


def measure(setting: Setting) -> Iterator[Row]:
    """Rows of whole frames, and of their CRF and flow."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield from frame_rows(setting)
    finally:
        cv2.setNumThreads(before)


def frame_rows(setting: Setting) -> Iterator[Row]:
    """All of a frame but the network: with the flow and the CRF, and the CRF and the flow alone."""
    grids = [(HEIGHT // stride, -(-WIDTH // stride)) for stride in STRIDES]
    seen = [features(*grid, *((60, 80) if setting.quick else (HEIGHT, WIDTH))) for grid in grids]
    images = [frame.image for frame in seen]
    probability = at_image_size(seen[0].objectness, images[0].shape[:2])
    calls = {f"{w}x{h}": partial(whole_frame, frame) for frame, (h, w) in zip(seen, grids, strict=True)}
    calls |= {
        "CRF": lambda: refine(probability, images[0], PAPER.crf),
        "flow": lambda: inverse_search(*images),
    }
    times = in_turn(setting, calls, 30, 5)
    height, width = images[0].shape[:2]
    for name, values in times.items():
        what = name if name in ("CRF", "flow") else f"without network and flow, grid {name}"
        case = f"a frame of {width}x{height}, {what}"
        yield goal("transfer", case, values, FRAME_S, items=1, item="frames")


def whole_frame(frame: FrameFeatures) -> np.ndarray:
    """From a frame's features to its refined probability, its best seed being the foreground's."""
    seeds = find_seeds(frame, PAPER.transfer)
    chosen = int((seeds.objectness * seeds.saliency).argmax())
    foreground, background = seed_sets(frame.embedding, seeds, chosen, PAPER.transfer)
    sides = seeds.embeddings[foreground], seeds.embeddings[background]
    probability = foreground_probability(frame.embedding, *sides)
    return refine(at_image_size(probability, frame.image.shape[:2]), frame.image, PAPER.crf)


def features(height: int, width: int, image_height: int = HEIGHT, image_width: int = WIDTH) -> FrameFeatures:
    """A frame of the built-in corpus's kind with 64 smooth channels that follow its colours, and an object's blob.

    Its noise is that of a camera: the CRF's lattice then has as many points as one of a natural image (300,000).
    """
    noise = np.random.default_rng(1).normal(0, 3, (2, image_height, image_width, 3))
    first, second = np.clip(frames(2, image_height, image_width) + noise, 0, 255).astype(np.uint8)
    small = cv2.resize(first, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(size=(height, width, 64)).astype(np.float32), (0, 0), 2)
    embedding = small @ rng.normal(size=(3, 64)).astype(np.float32) + grain
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    objectness = np.exp(-4 * (rows**2 + columns**2)).astype(np.float32)
    return frame_features(first, embedding, objectness, inverse_search(first, second))
