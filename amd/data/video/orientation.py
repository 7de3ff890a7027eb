"""How stored pixels have to be turned to be seen upright, by the display matrix of a video.

Input: the 3x3 matrix that FFmpeg attaches to frames, as its bytes. Output: an Orientation, which turns images. A
matrix can mirror as well as turn, which its angle alone does not say.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

MATRIX_BYTES = 36  # nine numbers of 32 bits, row by row, in this machine's order


@dataclass(frozen=True)
class Orientation:
    """Mirrored left to right first where `mirrored`, then turned clockwise by `quarters` of a circle."""

    quarters: int = 0  # 0 to 3
    mirrored: bool = False

    @property
    def degrees(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270."""
        return 90 * self.quarters

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as displayed of a picture of the stored size; the other way round, the same."""
        return (height, width) if self.quarters % 2 else (width, height)

    def upright(self, image: np.ndarray) -> np.ndarray:
        """The image H,W,3 as displayed, a new array."""
        straight = image[:, ::-1] if self.mirrored else image
        return np.ascontiguousarray(np.rot90(straight, -self.quarters))


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation that a decoded frame asks for; as stored where it says nothing."""
    # Not frame.side_data: frame and container would hold each other, and every frame wait for the garbage collector.
    side_data: Any = SideDataContainer(frame)  # type: ignore[call-arg]  # stubs lack it
    matrix = side_data.get(Type.DISPLAYMATRIX)  # a key's name would do, too, but only these have types
    return Orientation() if matrix is None else from_matrix(bytes(matrix))


def from_matrix(content: bytes) -> Orientation:
    """The nearest quarter turn of a display matrix; of one that shows nothing, as stored.

    The stored pixel (p, q) is shown at (a p + c q, b p + d q), with y downwards; a and b are the first two numbers
    of the matrix, c and d the fourth and fifth.
    """
    if len(content) < MATRIX_BYTES:
        return Orientation()
    a, b, _, c, d = np.frombuffer(content, np.int32, 5).tolist()
    if a * d == b * c:
        return Orientation()
    mirrored = a * d < b * c
    degrees = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a))
    return Orientation(round(degrees / 90) % 4, mirrored)
