"""Sets of single images with masks: in, a folder as downloaded; out, its images with their truth.

duts: DUTS-TE-Image/*.jpg and DUTS-TE-Mask/*.png. voc2012: JPEGImages/, SegmentationClass/ (255 is void, to be read
with amd.data.images.read_labels) and ImageSets/Segmentation/<split>.txt. folder: any images/ and masks/.
"""

from collections.abc import Callable
from pathlib import Path

from amd.data.sequences import (
    IMAGE_SUFFIXES,
    BenchmarkFrame,
    files_by_stem,
    is_plain_name,
    require_frames,
    require_layout,
)
from amd.errors import UserError

VOC_LISTS = Path("ImageSets", "Segmentation")


def open_images(name: str, root: Path | str) -> list[BenchmarkFrame]:
    """The annotated images of set `name` (a key of IMAGE_SETS) under `root`; UserError for an unknown name."""
    if name not in IMAGE_SETS:
        raise UserError(f"{name}: no such set of images; there are {', '.join(sorted(IMAGE_SETS))}")
    return IMAGE_SETS[name](Path(root))


def duts(root: Path | str) -> list[BenchmarkFrame]:
    """The test set of DUTS. Raises UserError, naming the path, for an image without mask or a mask without image."""
    return _paired(Path(root), "the test set of DUTS", Path("DUTS-TE-Image"), Path("DUTS-TE-Mask"))


def image_folder(root: Path | str) -> list[BenchmarkFrame]:
    """One's own data: images/ and masks/, paired by name; a mask is 0 where no object is. Raises like `duts`."""
    return _paired(Path(root), "a folder of images with masks", Path("images"), Path("masks"))


def voc2012(root: Path | str, split: str = "val") -> list[BenchmarkFrame]:
    """The images of a segmentation split of Pascal VOC 2012, in the order of its list.

    Raises UserError, naming the path, for another layout, an unknown split, or a listed image that is not there.
    """
    root = Path(root)
    lists = VOC_LISTS / f"{split}.txt"
    parts = (Path("JPEGImages"), Path("SegmentationClass"), lists)
    require_layout(root, "Pascal VOC 2012", parts, "give the folder VOC2012 as downloaded")
    names = (root / lists).read_text(encoding="utf-8", errors="replace").split()
    if not names:
        raise UserError(f"{root / lists}: lists no image; complete the copy")
    return [_voc_frame(root, root / lists, name) for name in names]


IMAGE_SETS: dict[str, Callable[[Path], list[BenchmarkFrame]]] = {
    "duts": duts,
    "folder": image_folder,
    "voc2012": voc2012,
}


def _paired(root: Path, title: str, images_part: Path, masks_part: Path) -> list[BenchmarkFrame]:
    require_layout(root, title, (images_part, masks_part), "give the folder that holds both")
    images = files_by_stem(root / images_part, IMAGE_SUFFIXES)
    masks = files_by_stem(root / masks_part, {".png"})
    if unpaired := sorted(images.keys() - masks.keys()):
        missing = root / masks_part / f"{unpaired[0]}.png"
        raise UserError(f"{images[unpaired[0]]}: an image without mask; {missing} is missing")
    require_frames(masks, images, root / images_part)
    return [BenchmarkFrame(stem, images[stem], masks[stem]) for stem in sorted(images)]


def _voc_frame(root: Path, lists: Path, name: str) -> BenchmarkFrame:
    if not is_plain_name(name):
        raise UserError(f"{lists}: {name[:80]!r} is no name of an image")
    image = root / "JPEGImages" / f"{name}.jpg"
    truth = root / "SegmentationClass" / f"{name}.png"
    for path in (image, truth):
        if not path.is_file():
            raise UserError(f"{path}: listed in {lists}, but not there; complete the copy")
    return BenchmarkFrame(name, image, truth)
