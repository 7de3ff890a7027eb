"""Images with instances, in the layout of Pascal VOC.

Input: a folder as downloaded. Output: what each pixel belongs to.

    root/ImageSets/Segmentation/<split>.txt   names, one a line
    root/JPEGImages/<name>.jpg
    root/SegmentationClass/<name>.png         0 background, else a class; 255 void
    root/SegmentationObject/<name>.png        0 background, 1.. instances; 255 void. May be missing for an image
    root/classes.txt                          names of the classes from 1, one a line; without it they are VOC's 20

Where an image has no instance mask, each connected region of a class stands for an instance. Whether two regions of
one class are one object is then not known, and `Labelled.exact` says so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from scipy import ndimage

from amd.data.benchmarks.image_sets import voc2012
from amd.data.images import read_image, read_labels
from amd.runtime.errors import UserError

IMAGES, SEMANTIC_MASKS, INSTANCE_MASKS = Path("JPEGImages"), Path("SegmentationClass"), Path("SegmentationObject")
CLASSES_FILE = Path("classes.txt")
VOID = 255
MOST_CLASSES = 254  # in an 8-bit map beside background and void
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class InstanceImage:
    """One image of a set, and the class number that each value of its mask stands for."""

    name: str
    image: Path
    classes: Path
    instances: Path | None
    numbers: tuple[int, ...]  # of the values 0, 1, ...; those of several roots agree by name


@dataclass(frozen=True)
class Labelled:
    """An image with what each pixel belongs to."""

    image: np.ndarray  # uint8 H,W,3
    classes: np.ndarray  # uint8 H,W: 0 background, VOID unknown
    instances: np.ndarray  # int32 H,W: 0 background, 1.., VOID unknown
    exact: bool  # whether different instances of one class are known to be different objects


def class_names(roots: list[Path]) -> tuple[str, ...]:
    """The classes of all roots together, from number 1 on: each name once, in the order of the roots."""
    names = tuple(dict.fromkeys(name for root in roots for name in _names(root)))
    if len(names) > MOST_CLASSES:
        raise UserError(f"{', '.join(map(str, roots))}: {len(names)} classes together, more than {MOST_CLASSES}")
    return names


def open_instances(roots: list[Path], split: str, known: tuple[str, ...] | None = None) -> list[InstanceImage]:
    """The images of a split of all roots; class numbers are those of `known`, by default of the roots together.

    Raises UserError, naming the path, for another layout, an unknown split, an image that is not there, or a class
    that is not known.
    """
    known = class_names(roots) if known is None else known
    images = []
    for root in roots:
        if strange := [name for name in _names(root) if name not in known]:
            raise UserError(f"{root}: has the class {strange[0]!r}, which the network has not learned")
        numbers = (0, *(known.index(name) + 1 for name in _names(root)))
        for frame in voc2012(root, split):
            mask = root / INSTANCE_MASKS / f"{frame.name}.png"
            truth = cast(Path, frame.truth)
            images.append(InstanceImage(frame.name, frame.image, truth, mask if mask.is_file() else None, numbers))
    return images


def read_instances(item: InstanceImage) -> Labelled:
    """Read one image with its masks; UserError names a damaged file, masks of another size, or an unknown class."""
    image, values = read_image(item.image), read_labels(item.classes)
    _require_size(values, image, item.classes, item.image)
    unknown = np.setdiff1d(values, [*range(len(item.numbers)), VOID])
    if unknown.size:
        raise UserError(f"{item.classes}: value {unknown[0]} is no class; there are {len(item.numbers) - 1} and 255")
    table = np.full(256, VOID, np.uint8)
    table[: len(item.numbers)] = item.numbers
    classes = table[values]
    if item.instances is None:
        return Labelled(image, classes, connected_instances(classes), exact=False)
    instances = read_labels(item.instances)
    _require_size(instances, image, item.instances, item.image)
    return Labelled(image, classes, instances.astype(np.int32), exact=True)


def connected_instances(classes: np.ndarray) -> np.ndarray:
    """Instances int32 H,W of a class map: every connected region of a class, numbered around VOID; else as it is."""
    instances = np.where(classes == VOID, VOID, 0).astype(np.int32)
    found = 0
    for number in np.setdiff1d(classes, [0, VOID]):
        regions, count = ndimage.label(classes == number, np.ones((3, 3)))
        names = np.arange(found + 1, found + count + 1)
        names += names >= VOID
        instances[regions > 0] = names[regions[regions > 0] - 1]
        found += count
    return instances


def _names(root: Path) -> tuple[str, ...]:
    path = root / CLASSES_FILE
    if not path.is_file():
        return VOC_CLASSES
    try:
        names = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable ({error}); write a name of a class a line") from None
    if not names or len(set(names)) != len(names):
        raise UserError(f"{path}: {'names a class twice' if names else 'is empty'}; write a name of a class a line")
    return names


def _require_size(mask: np.ndarray, image: np.ndarray, path: Path, image_path: Path) -> None:
    if mask.shape != image.shape[:2]:
        sizes = f"{mask.shape[1]}x{mask.shape[0]} pixels, but {image_path} has {image.shape[1]}x{image.shape[0]}"
        raise UserError(f"{path}: {sizes}; give the mask the image's size")
