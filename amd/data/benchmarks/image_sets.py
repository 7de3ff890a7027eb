"""Sets of single images with masks.

Input: a folder as downloaded. Output: its images with their truth.

duts: DUTS-TE-Image/*.jpg and DUTS-TE-Mask/*.png, grey, an object above 127. voc2012: JPEGImages/, SegmentationClass/
(255 is void, to be read with amd.data.images.read_labels) and ImageSets/Segmentation/<split>.txt. folder: any images/
and masks/.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from amd.data.benchmarks.sequences import (
    IMAGE_SUFFIXES,
    BenchmarkFrame,
    Report,
    files_by_stem,
    is_plain_name,
    refuse,
    require_frames,
    require_layout,
)
from amd.runtime.errors import UserError

VOC_LISTS = Path("ImageSets", "Segmentation")
VOC_LABELS = Path("SegmentationClass")
HALF = 127  # of a grey mask


def open_images(name: str, root: Path | str, report: Report = refuse) -> list[BenchmarkFrame]:
    """The annotated images of set `name` (a key of IMAGE_SETS) under `root`; UserError for an unknown name."""
    if name not in IMAGE_SETS:
        raise UserError(f"{name}: no such set of images; there are {', '.join(sorted(IMAGE_SETS))}")
    return IMAGE_SETS[name](Path(root), report=report)


def duts(root: Path | str, report: Report = refuse) -> list[BenchmarkFrame]:
    """The test set of DUTS. Reports, naming the path, an image without mask and a mask without image."""
    frames = _paired(Path(root), "the test set of DUTS", Path("DUTS-TE-Image"), Path("DUTS-TE-Mask"), report)
    return [replace(frame, above=HALF) for frame in frames]  # edges of a mask may be soft


def image_folder(root: Path | str, report: Report = refuse) -> list[BenchmarkFrame]:
    """One's own data: images/ and masks/, paired by name; a mask is 0 where no object is. Reports like `duts`."""
    return _paired(Path(root), "a folder of images with masks", Path("images"), Path("masks"), report)


def voc2012(
    root: Path | str, split: str = "val", report: Report = refuse, labels: Path = VOC_LABELS
) -> list[BenchmarkFrame]:
    """The images of a segmentation split of Pascal VOC 2012, in the order of its list, with the truth in `labels`.

    Raises UserError, naming the path, for another layout or an unknown split; reports a listed image that is not there.
    """
    root = Path(root)
    lists = VOC_LISTS / f"{split}.txt"
    parts = (Path("JPEGImages"), labels, lists)
    require_layout(root, "Pascal VOC 2012", parts, "give the folder VOC2012 as downloaded")
    names = (root / lists).read_text(encoding="utf-8", errors="replace").split()
    if not names:
        raise UserError(f"{root / lists}: lists no image; complete the copy")
    place = lambda name: (root / "JPEGImages" / f"{name}.jpg", root / labels / f"{name}.png")
    frames = [listed_image(name, root / lists, *place(name), report) for name in names]
    return [frame for frame in frames if frame is not None]


IMAGE_SETS: dict[str, Callable[..., list[BenchmarkFrame]]] = {
    "duts": duts,
    "folder": image_folder,
    "voc2012": voc2012,
}


def _paired(root: Path, title: str, images_part: Path, masks_part: Path, report: Report) -> list[BenchmarkFrame]:
    require_layout(root, title, (images_part, masks_part), "give the folder that holds both")
    images = files_by_stem(root / images_part, IMAGE_SUFFIXES, report)
    masks = files_by_stem(root / masks_part, {".png"}, report)
    for stem in sorted(images.keys() - masks.keys()):
        missing = root / masks_part / f"{stem}.png"
        report(f"{images[stem]}: an image without mask; {missing} is missing")
    require_frames(masks, images, root / images_part, report)
    return [BenchmarkFrame(stem, images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())]


def listed_image(name: str, listed: Path, image: Path, truth: Path, report: Report) -> BenchmarkFrame | None:
    """An image that the file `listed` names; reports a name that is none and a file that is not there (None)."""
    if not is_plain_name(name):
        report(f"{listed}: {name[:80]!r} is no name of an image")
        return None
    for path in (image, truth):
        if not path.is_file():
            report(f"{path}: listed in {listed}, but not there; complete the copy")
            return None
    return BenchmarkFrame(name, image, truth)
