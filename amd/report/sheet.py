"""A sheet of pictures: in, rows of images and the titles of the columns; out, one PNG to look at."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from amd.files import atomic_path

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
        Image.fromarray(sheet).save(part, format="PNG", optimize=True)


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
