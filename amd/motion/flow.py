"""Optical flow behind one function: in, the frames of a video in order and a source; out, a flow per frame.

A flow is float32 H,W,2 at the frame's own size: where each pixel goes to in the next frame, in pixels, x then y. A
source is dense inverse search, files in Middlebury's .flo format that anything wrote, or a network (amd.transfer.
motion_flow).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amd.runtime.errors import UserError

SMALLEST = 16  # pixels: on lower frames that are wide, OpenCV's search ends the process (seen in 5.0 at 12x40)
MAGIC = 202021.25  # the first four bytes of a .flo file, as a little-endian float
HEADER_BYTES = 12
MOST_PIXELS = 89_478_485  # of one flow, as of an image (amd.data.images)
UNKNOWN = 1e9  # Middlebury's mark: vectors at least this long are not known

PairFlow = Callable[[np.ndarray, np.ndarray], np.ndarray]  # two frames uint8 RGB H,W,3 to the flow between them


@dataclass(frozen=True)
class FlowFiles:
    """A source: `folder`/<name>.flo is the flow from the frame of that name to the next.

    The last frame needs none: without a file it goes on as the frame before it.
    """

    folder: Path
    names: Iterable[str]  # of the frames, in order; more than there are frames do no harm


def flows(frames: Iterable[np.ndarray], source: PairFlow | FlowFiles) -> Iterator[np.ndarray]:
    """A flow H,W,2 for each of the frames uint8 H,W,3, to the next one; of the last, minus that to the one before.

    One lone frame has the flow zero. Two frames are held at a time. UserError when two frames differ in size, and
    for a file that read_flo refuses.
    """
    return _stored(frames, source) if isinstance(source, FlowFiles) else _computed(frames, source)


def inverse_search(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow float32 H,W,2 from `first` to `second`, uint8 RGB H,W,3, by OpenCV's dense inverse search.

    Low or narrow frames are repeated at their edge to the SMALLEST size.
    """
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    missing = [max(0, SMALLEST - edge) for edge in first.shape[:2]]
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
    padded = [np.pad(image, [(0, missing[0]), (0, missing[1])], mode="edge") for image in grey]
    return search.calc(*padded, None)[: first.shape[0], : first.shape[1]]


def read_flo(path: Path | str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a Middlebury .flo file as float32 H,W,2; `size` is the (height, width) that it must have.

    Raises UserError when the file is missing, no .flo, cut short or too long, of another size, or when a vector is
    not finite or marked as unknown.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such flow; give a .flo file for every frame but the last") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from None
    if len(content) < HEADER_BYTES or np.frombuffer(content, "<f4", 1)[0] != np.float32(MAGIC):
        raise UserError(f"{path}: not a .flo file (it does not start with {MAGIC}); write Middlebury's format")
    width, height = (int(number) for number in np.frombuffer(content, "<i4", 2, offset=4))
    if size is not None and (height, width) != size:
        raise UserError(
            f"{path}: flow of {width}x{height} pixels for a frame of {size[1]}x{size[0]}; compute it at the frame's "
            "own size"
        )
    if min(width, height) < 1 or width * height > MOST_PIXELS:
        raise UserError(f"{path}: flow of {width}x{height} pixels, which no image has; the file is damaged")
    if len(content) != HEADER_BYTES + 8 * width * height:
        raise UserError(f"{path}: {len(content)} bytes are not a flow of {width}x{height} pixels; write it again")
    flow = np.frombuffer(content, "<f4", offset=HEADER_BYTES).reshape(height, width, 2).astype(np.float32)
    if not (np.abs(flow) < UNKNOWN).all():  # NaN is not below either
        raise UserError(f"{path}: some vectors are unknown or not finite; give a flow that is dense")
    return flow


def _with_next(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    ended: Iterable[Any] = chain(frames, [None])
    return pairwise(ended)


def _computed(frames: Iterable[np.ndarray], source: PairFlow) -> Iterator[np.ndarray]:
    before = None
    for frame, following in _with_next(frames):
        if following is not None:
            yield _pair_flow(source, frame, following)
            before = frame
        elif before is not None:
            yield -_pair_flow(source, frame, before)
        else:
            yield _no_flow(frame)


def _stored(frames: Iterable[np.ndarray], files: FlowFiles) -> Iterator[np.ndarray]:
    flow = None
    for (frame, following), name in zip(_with_next(frames), files.names, strict=False):
        path = files.folder / f"{name}.flo"
        if following is not None or path.exists():
            flow = read_flo(path, frame.shape[:2])
        yield _no_flow(frame) if flow is None else flow


def _no_flow(frame: np.ndarray) -> np.ndarray:
    return np.zeros((*frame.shape[:2], 2), np.float32)


def _pair_flow(source: PairFlow, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if first.shape != second.shape:
        sizes = [f"{frame.shape[1]}x{frame.shape[0]}" for frame in (first, second)]
        raise UserError(f"a frame of {sizes[0]} pixels beside one of {sizes[1]}; the frames of a video have one size")
    return source(first, second)
