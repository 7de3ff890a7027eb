"""A contact sheet: frames of an overlay, evenly over its length, on one picture that is seen at a glance.

Enters: an overlay as amd.overlay writes it, and its number of frames. Leaves: an RGB picture of tiles with their times.
"""

import math
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from amd.data.video import Frame, Source, read_frames

TILES = 12
SHORT_EDGE = 160  # of a tile, pixels
GAP = 6
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


def contact_sheet(overlay: Path, frames: int) -> np.ndarray:
    """Up to 12 frames of a video of `frames` frames in rows of four, uint8 H,W,3. UserError when it does not decode."""
    wanted = set(np.linspace(0, frames - 1, min(TILES, frames)).round().astype(int).tolist())
    with closing(read_frames(Source("overlay", overlay), SHORT_EDGE)) as decoded:
        return _grid([_tile(frame) for frame in decoded if frame.index in wanted])


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    columns = min(4, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = (GAP + place * (size + GAP) for place, size in zip(divmod(index, columns), (height, width)))
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _tile(frame: Frame) -> np.ndarray:
    """The frame with its time in seconds, white on black so that it reads on any picture."""
    text, font, scale = f"{frame.timestamp:.1f} s", cv2.FONT_HERSHEY_SIMPLEX, 0.4
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    tile = cv2.rectangle(frame.image.copy(), (0, 0), (width + 6, height + below + 4), BLACK, cv2.FILLED)
    return cv2.putText(tile, text, (3, height + 3), font, scale, WHITE, 1, cv2.LINE_AA)
