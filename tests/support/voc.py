"""A tiny folder in the layout of Pascal VOC 2012 for the tests: coloured squares whose colour is their class."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([(90, 90, 90), (200, 40, 40), (40, 200, 40), (40, 40, 200)], np.uint8)  # of classes 0 to 3
SIZE = (48, 64)
CLASSES = ("red", "green", "blue")


def labels_of(number: int) -> np.ndarray:
    """Labels uint8 H,W of image `number`: a square of one class, a void line along its left side."""
    labels = np.zeros(SIZE, np.uint8)
    top, left = 4 + 3 * (number % 5), 6 + 5 * (number % 4)
    labels[top : top + 24, left : left + 28] = 1 + number % 3
    labels[top : top + 24, left - 1] = 255
    return labels


def image_of(labels: np.ndarray) -> np.ndarray:
    """The image uint8 H,W,3 whose every pixel shows its class; void as background."""
    return COLOURS[np.where(labels == 255, 0, labels)]


def write_image(root: Path, name: str, labels: np.ndarray, folder: str = "SegmentationClass") -> None:
    """One image with its labels."""
    for part in ("JPEGImages", folder):
        (root / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_of(labels)).save(root / f"JPEGImages/{name}.jpg", quality=95, subsampling=0)
    Image.fromarray(labels).save(root / folder / f"{name}.png")


def write_list(root: Path, split: str, names: list[str]) -> None:
    """A list of a split."""
    path = root / f"ImageSets/Segmentation/{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def write_voc(root: Path, train: int = 6, val: int = 3) -> Path:
    """Images train0, train1, … and val0, … with their lists and the names of their three classes."""
    for split, count in (("train", train), ("val", val)):
        names = [f"{split}{number}" for number in range(count)]
        for number, name in enumerate(names):
            write_image(root, name, labels_of(number))
        write_list(root, split, names)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root
