"""Dense optical flow of every frame to its neighbours, by OpenCV's dense inverse search (Kroeger et al., 2016).

Input: frames in order. Output: per frame the flows to the frames `gap` before and after, for every gap, on a coarse
grid. Vectors are in pixels of a frame whose short edge is UNIT, whatever size the flow was estimated at, so that what
is learned at one size holds at another.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from amd.runtime.errors import UserError

UNIT = 240  # pixels of the short edge that vectors are measured in
SMALLEST = 32  # pixels of an edge at which the search works; less is repeated at the border
AHEAD = 4  # frames whose flows are estimated while those of earlier ones are used
LONGEST = 8  # times the short edge: of a frame that is longer, the long edge counts


@dataclass(frozen=True)
class FlowSettings:
    """How flow is estimated, and on which grid it is given."""

    gaps: tuple[int, ...] = (1,)  # frames
    short_edge: int = 360  # of frames at which flow is estimated; smaller frames keep their size
    finest_scale: int = 0  # where the search ends: 0 is full resolution, 1 half of it
    grid: int = 120  # short edge of the grid


@dataclass(frozen=True)
class FrameFlows:
    """Flows float32 D,2,h,w (x, y) of one frame: to the frame before and the one after, per gap in order.

    Where a direction has no frame (at an end of the video), the opposite one negated stands in its place, or a smaller
    gap's flow multiplied; `real` says which are none of these. All zero for a video of one frame.
    """

    flows: np.ndarray
    real: tuple[bool, ...]


def grid_size(height: int, width: int, short_edge: int) -> tuple[int, int]:
    """Height and width of a frame of that size brought to a short edge."""
    scale = max(short_edge / min(height, width), 1 / max(height, width))
    scale = min(scale, LONGEST * short_edge / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def grey_frame(frame: np.ndarray, short_edge: int) -> np.ndarray:
    """A frame uint8 RGB H,W,3 as grey at a short edge, never enlarged."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    size = grid_size(grey.shape[0], grey.shape[1], short_edge)
    if min(grey.shape) <= short_edge:
        return grey
    return cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)


def flow_on_grid(first: np.ndarray, second: np.ndarray, finest_scale: int, size: tuple[int, int]) -> np.ndarray:
    """Flow float32 2,h,w of `size` from `first` to `second` (uint8 H,W), in pixels of a short edge of UNIT."""
    missing = [(0, max(0, SMALLEST - edge)) for edge in first.shape]
    padded = [np.pad(image, missing, mode="edge") if any(m[1] for m in missing) else image for image in (first, second)]
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(finest_scale)
    flow = search.calc(*padded, None)[: first.shape[0], : first.shape[1]]
    shrinks = size[0] <= first.shape[0] and size[1] <= first.shape[1]
    small = cv2.resize(flow, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    height, width = first.shape
    scale = np.array([grid_size(height, width, UNIT)[axis] / first.shape[axis] for axis in (1, 0)], np.float32)
    return np.ascontiguousarray((small * scale).transpose(2, 0, 1))


def neighbour_flows(frames: Iterable[np.ndarray], settings: FlowSettings, threads: int = 2) -> Iterator[FrameFlows]:
    """The flows of every frame, in order; frames are uint8 RGB H,W,3 of one size, of which few are held at a time.

    Flows are estimated in `threads` threads. UserError when two frames differ in size.
    """
    reach = max(settings.gaps)
    window: deque[_Held] = deque()  # frames whose flows are not all given, and as many before as a flow reaches
    waiting = 0  # of them, at the end of the window
    with ThreadPoolExecutor(threads) as pool:
        for frame in frames:
            if window and window[-1].shape != frame.shape:
                sizes = [f"{shape[1]}x{shape[0]}" for shape in (window[-1].shape, frame.shape)]
                raise UserError(
                    f"a frame of {sizes[0]} pixels beside one of {sizes[1]}; a video's frames have one size"
                )
            window.append(_Held(frame.shape, grey_frame(frame, settings.short_edge), {}))
            waiting += 1
            for gap in settings.gaps:
                if len(window) > gap:
                    _submit(pool, window[-1 - gap], window[-1], gap, settings)
            if waiting > reach + AHEAD:
                yield _complete(window[-waiting], settings)
                waiting -= 1
            while len(window) > waiting + reach:
                window.popleft()
        for held in list(window)[len(window) - waiting :]:
            yield _complete(held, settings)


@dataclass
class _Held:
    """A frame in the window: its shape, grey at the size of the flow, and its flows as they come."""

    shape: tuple[int, ...]
    grey: np.ndarray
    flows: dict[int, Future[np.ndarray]]  # by signed gap


def _submit(pool: ThreadPoolExecutor, before: _Held, after: _Held, gap: int, settings: FlowSettings) -> None:
    size = grid_size(before.shape[0], before.shape[1], settings.grid)
    before.flows[gap] = pool.submit(flow_on_grid, before.grey, after.grey, settings.finest_scale, size)
    after.flows[-gap] = pool.submit(flow_on_grid, after.grey, before.grey, settings.finest_scale, size)


def _complete(held: _Held, settings: FlowSettings) -> FrameFlows:
    """Wait for a frame's flows, and fill in those that there are not."""
    known = {gap: future.result() for gap, future in held.flows.items()}
    size = grid_size(held.shape[0], held.shape[1], settings.grid)
    wanted = [sign * gap for gap in settings.gaps for sign in (-1, 1)]
    flows = [_stand_in(known, gap, size) for gap in wanted]
    return FrameFlows(np.stack(flows), tuple(gap in known for gap in wanted))


def _stand_in(known: dict[int, np.ndarray], gap: int, size: tuple[int, int]) -> np.ndarray:
    if gap in known:
        return known[gap]
    if -gap in known:
        return -known[-gap]
    if not known:
        return np.zeros((2, *size), np.float32)
    nearest = max((other for other in known), key=lambda other: (abs(other), other * gap > 0))
    return known[nearest] * np.float32(gap / nearest)


def warp(maps: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`maps` float32 C,h,w as seen along `flow` 2,h,w in cells of the grid: at x, the value at x + flow(x)."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = [
        cv2.remap(layer, x + flow[0], y + flow[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for layer in maps
    ]
    return np.stack(moved)


def occluded(forward: np.ndarray, backward: np.ndarray, relative: float = 0.01, absolute: float = 0.5) -> np.ndarray:
    """Where forward and backward flow (2,h,w each, in cells of the grid) contradict each other: bool h,w.

    The test of Sundaram et al. (2010): |f + b(x + f)|² > relative (|f|² + |b|²) + absolute. Cells that leave the frame
    are occluded too.
    """
    height, width = forward.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    returned = warp(backward, forward)
    error = ((forward + returned) ** 2).sum(0)
    bound = relative * ((forward**2).sum(0) + (returned**2).sum(0)) + absolute
    left, top = x + forward[0], y + forward[1]
    outside = (left < 0) | (top < 0) | (left > width - 1) | (top > height - 1)
    return (error > bound) | outside
