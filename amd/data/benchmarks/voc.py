"""Images with a class per pixel.

Input: Pascal VOC 2012 and SBD as downloaded. Output: the images of each split with labels.

VOC2012 is read as in amd.data.benchmarks.image_sets. Where it has ImageSets/Segmentation/train_aug.txt (or
trainaug.txt), somebody has merged SBD into it, with the labels in SegmentationClassAug/, and that is the training
set. Else SBD's own folder:

    dataset/train.txt, val.txt   names
    dataset/img/<name>.jpg
    dataset/cls/<name>.mat       GTcls.Segmentation: 0 background, 1 to 20 classes

The training set is then VOC's train and both lists of SBD without VOC's val: 10,582 images. VOC's own labels are
taken where there are two.
"""

from pathlib import Path
from typing import cast

import numpy as np
from scipy.io import loadmat

from amd.data.benchmarks.image_sets import VOC_LABELS, VOC_LISTS, listed_image, voc2012
from amd.data.benchmarks.instances import VOID
from amd.data.benchmarks.sequences import (
    BenchmarkFrame,
    Report,
    is_folder,
    refuse,
    require_layout,
)
from amd.data.images import read_image, read_labels
from amd.runtime.errors import UserError

MERGED_LISTS = ("train_aug", "trainaug")
MERGED_LABELS = Path("SegmentationClassAug")
WHOLE = {"train": 1_464, "train with SBD": 10_582, "val": 1_449}  # images of VOC 2012


def training_images(root: Path | str, sbd: Path | str | None = None, report: Report = refuse) -> list[BenchmarkFrame]:
    """The training images of VOC 2012 under `root`, with those of SBD where they are at hand.

    Raises UserError, naming the path, for another layout; reports a listed image of VOC that is not there.
    """
    root = Path(root)
    if sbd is not None:
        own = voc2012(root, "train", report)
        taken = {frame.name for frame in (*own, *voc2012(root, "val"))}
        return own + [frame for frame in _sbd(Path(sbd), report) if frame.name not in taken]
    for split in MERGED_LISTS:
        if (root / VOC_LISTS / f"{split}.txt").is_file():
            labels = MERGED_LABELS if is_folder(root / MERGED_LABELS) else VOC_LABELS
            return voc2012(root, split, report, labels)
    return voc2012(root, "train", report)


def read_labelled(frame: BenchmarkFrame, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 H,W,3 and its labels uint8 H,W: 0 background, below `classes`, or VOID.

    Raises UserError for files that are damaged, of different sizes, or with a value that is no class.
    """
    image, labels = read_image(frame.image), read_classes(frame, classes)
    if labels.shape != image.shape[:2]:
        size, wanted = (f"{shape[1]}x{shape[0]}" for shape in (labels.shape, image.shape))
        raise UserError(f"{frame.truth}: {size} pixels, but its image has {wanted}; replace it")
    return image, labels


def read_classes(frame: BenchmarkFrame, classes: int) -> np.ndarray:
    """The labels alone; raises like `read_labelled`."""
    truth = cast(Path, frame.truth)
    labels = _read_mat(truth) if truth.suffix == ".mat" else read_labels(truth)
    if (wrong := labels[(labels >= classes) & (labels != VOID)]).size:
        raise UserError(
            f"{frame.truth}: value {wrong[0]} is no class; there are 0 to {classes - 1}, and {VOID} for void"
        )
    return labels


def _sbd(root: Path, report: Report) -> list[BenchmarkFrame]:
    """The images of both of SBD's lists, each once."""
    lists = (Path("train.txt"), Path("val.txt"))
    parts = (Path("img"), Path("cls"), *lists)
    require_layout(root, "SBD", parts, "give benchmark_RELEASE/dataset as downloaded")
    names = {name: path for path in lists for name in (root / path).read_text(errors="replace").split()}
    place = lambda name: (root / "img" / f"{name}.jpg", root / "cls" / f"{name}.mat")
    frames = (listed_image(name, root / path, *place(name), report) for name, path in names.items())
    return [frame for frame in frames if frame is not None]


def _read_mat(path: Path) -> np.ndarray:
    """GTcls.Segmentation of a MATLAB file, uint8 H,W."""
    try:
        labels = loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
    except Exception as error:  # SciPy raises nearly anything on damaged files
        raise UserError(f"{path}: not a readable label file of SBD ({type(error).__name__}); replace it") from None
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype != np.uint8:
        raise UserError(f"{path}: GTcls.Segmentation is no 8-bit map; replace it")
    return labels
