"""Layered clips as what the evidence network is trained on: flows and truth on the grid, cached in a folder.

Input: textures, seeds, and the flow settings. Output: files of CHUNK clips each, float16 N,2D+1,h,w: the D flows (x, y)
of the middle frame as amd.motion.dense gives them, and the share of each cell that an object covers. A file is whole or
absent, so that an interrupted run goes on where it ended.
"""

import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from amd.data.synthetic.layer_textures import Textures
from amd.data.synthetic.layers import draw_clip
from amd.motion.dense import FlowSettings, flow_on_grid, grey_frame, grid_size
from amd.runtime.files import atomic_path

CHUNK = 50  # clips of a file


def clip_flows(textures: Textures, seed: int, flow: FlowSettings, empty: float) -> np.ndarray:
    """float16 2D+1,h,w of the clip of a seed: its middle frame's flows, and the cover of its objects."""
    height = flow.short_edge
    size = height, 2 * round(height * 16 / 18)
    offsets = [sign * gap for gap in flow.gaps for sign in (-1, 1)]
    clip = draw_clip(textures, seed, sorted([0, *offsets]), size, empty)
    grey = {time: grey_frame(frame, height) for time, frame in zip(clip.times, clip.frames, strict=True)}
    grid = grid_size(*size, flow.grid)
    flows = [flow_on_grid(grey[0], grey[offset], flow.finest_scale, grid) for offset in offsets]
    truth = clip.truth[clip.times.index(0)].astype(np.float32)
    truth = cv2.resize(truth, grid[::-1], interpolation=cv2.INTER_AREA)
    return np.concatenate([*flows, truth[None]]).astype(np.float16)


def clip_file(folder: Path, chunk: int) -> Path:
    """The cache's file of the clips chunk * CHUNK and on."""
    return folder / f"clips-{chunk:05d}.npy"


def write_clips(
    folder: Path, textures: Textures, chunks: Iterable[int], flow: FlowSettings, empty: float, workers: int
) -> list[Path]:
    """The cache's files of `chunks`, in order; those that are not there are made by `workers` processes."""
    paths = {chunk: clip_file(folder, chunk) for chunk in chunks}
    missing = [chunk for chunk, path in paths.items() if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(paths[chunk], range(chunk * CHUNK, (chunk + 1) * CHUNK), flow, empty) for chunk in missing]
    if missing and workers > 1:  # spawned: OpenCV's threads do not survive a fork
        with multiprocessing.get_context("spawn").Pool(workers, _share, (textures,)) as pool:
            pool.starmap(_write_chunk, jobs, chunksize=1)
    elif missing:
        _share(textures)
        for job in jobs:
            _write_chunk(*job)
    return list(paths.values())


_shared: list[Textures] = []


def _share(textures: Textures) -> None:
    cv2.setNumThreads(1)
    _shared[:] = [textures]


def _write_chunk(path: Path, seeds: Iterable[int], flow: FlowSettings, empty: float) -> None:
    clips = [clip_flows(_shared[0], seed, flow, empty) for seed in seeds]
    with atomic_path(path) as part, part.open("wb") as file:
        np.save(file, np.stack(clips))
