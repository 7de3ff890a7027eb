"""A sheet of pictures.

Input: rows of images and the titles of the columns. Output: one PNG to look at.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from amd.runtime.files import atomic_path

CELL = 240, 160  # width and largest height of a picture
MARGIN = 4
TITLE = 22  # pixels above the pictures
TEXT = (40, 40, 40)


def write_sheet(path: Path | str, titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Draw `rows` of RGB images uint8 H,W,3, fitted into cells of one width, under `titles`.

    A row is as high as its highest picture.
    """
    width = CELL[0]
    heights = [max(_fitted(image)[0] for image in row) for row in rows]
    size = (TITLE + sum(heights) + len(rows) * MARGIN, len(titles) * (width + MARGIN) + MARGIN, 3)
    sheet = np.full(size, 255, np.uint8)
    for column, title in enumerate(titles):
        left = MARGIN + column * (width + MARGIN)
        cv2.putText(sheet, title, (left, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, TEXT, 1, cv2.LINE_AA)
        top = TITLE
        for row, height in zip(rows, heights, strict=True):
            _paste(sheet[top : top + height, left : left + width], row[column])
            top += height + MARGIN
    with atomic_path(path) as part:
        Image.fromarray(sheet).save(part, format="PNG")  # optimize takes three times as long, for a fiftieth


def _fitted(image: np.ndarray) -> tuple[int, int]:
    """Height and width of an image that fills a cell."""
    scale = min(CELL[1] / image.shape[0], CELL[0] / image.shape[1])
    return max(1, round(scale * image.shape[0])), max(1, round(scale * image.shape[1]))


def _paste(cell: np.ndarray, image: np.ndarray) -> None:
    """Fit an image into the middle of a cell, in place."""
    height, width = _fitted(image)
    top, left = (cell.shape[0] - height) // 2, (cell.shape[1] - width) // 2
    shrunk = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    cell[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=shrunk)


TILES = 12
GAP = 6
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


def contact_sheet(frames: Iterable[tuple[np.ndarray, float]], count: int) -> np.ndarray:
    """Up to 12 of `count` frames, images uint8 H,W,3 with their seconds, in rows of four as one image uint8 H,W,3."""
    wanted = set(np.linspace(0, count - 1, min(TILES, count)).round().astype(int).tolist())
    return _grid([_tile(image, seconds) for index, (image, seconds) in enumerate(frames) if index in wanted])


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    columns = min(4, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = (GAP + place * (size + GAP) for place, size in zip(divmod(index, columns), (height, width)))
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _tile(image: np.ndarray, seconds: float) -> np.ndarray:
    """The frame with its time in seconds, white on black so that it reads on any picture."""
    text, font, scale = f"{seconds:.1f} s", cv2.FONT_HERSHEY_SIMPLEX, 0.4
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    tile = cv2.rectangle(image.copy(), (0, 0), (width + 6, height + below + 4), BLACK, cv2.FILLED)
    return cv2.putText(tile, text, (3, height + 3), font, scale, WHITE, 1, cv2.LINE_AA)
