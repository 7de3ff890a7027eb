"""Exports as one file of text: COCO's JSON, boxes and timestamps as CSV. Lines go to disk as frames come."""

import csv
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from amd.inference.export.kinds import MaskedFrame, SourceInfo, Write, bounding_box
from amd.runtime.files import atomic_path

CATEGORY = {"id": 1, "name": "object", "supercategory": "object"}
BOX_COLUMNS = ("frame", "timestamp", "object_id", "x", "y", "width", "height", "area")
TIME_COLUMNS = ("index", "frame", "timestamp")
DIGITS = 6  # of a second


@contextmanager
def coco(folder: Path, source: SourceInfo) -> Iterator[Write]:
    """COCO's JSON: an image per frame, an annotation per object and frame, masks as compressed RLE.

    `file_name` is the image's own name, of a video <frame>.png as the other exports have it; `track_id` is the same
    for one object in all frames.
    """
    with (
        atomic_path(folder / "coco.json") as part,
        part.open("w", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder) as images,
    ):
        annotations = _JsonList(file)
        listed = _JsonList(images)
        head = {"info": {"description": source.name}, "licenses": [], "categories": [CATEGORY]}
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": [')

        def write(frame: MaskedFrame) -> None:
            listed.append(_image(frame, source))
            for number, mask in frame.objects():
                annotations.append({"id": annotations.length + 1, **_annotation(frame, number, mask)})

        yield write
        file.write('\n], "images": [')
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write("\n]}\n")


@contextmanager
def boxes(folder: Path, source: SourceInfo) -> Iterator[Write]:
    """A line per object and frame: its box and area in pixels; a frame without objects has none."""
    with _csv_file(folder / "boxes.csv", BOX_COLUMNS) as table:

        def write(frame: MaskedFrame) -> None:
            for number, mask in frame.objects():
                place = (frame.name, round(frame.timestamp, DIGITS), number)
                table.writerow((*place, *bounding_box(mask), int(mask.sum())))

        yield write


@contextmanager
def timestamps(folder: Path, source: SourceInfo) -> Iterator[Write]:
    """A line per frame: when it is shown, in seconds from the first."""
    with _csv_file(folder / "timestamps.csv", TIME_COLUMNS) as table:
        yield lambda frame: table.writerow((frame.index, frame.name, round(frame.timestamp, DIGITS)))


class _JsonList:
    """The inside of a JSON list, written a value at a time."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.length = 0

    def append(self, value: dict) -> None:
        self.file.write(("," if self.length else "") + "\n" + json.dumps(value, ensure_ascii=False))
        self.length += 1


@contextmanager
def _csv_file(path: Path, columns: tuple[str, ...]) -> Iterator:
    """A CSV writer after its line of column names; the file appears when the body has ended well."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        yield table


def _image(frame: MaskedFrame, source: SourceInfo) -> dict:
    height, width = frame.mask.shape
    name = f"{frame.name}.png" if source.frame_files is None else source.frame_files[frame.index]
    place = {"id": frame.index + 1, "file_name": name, "width": width, "height": height}
    return place | {"frame_index": frame.index, "timestamp": round(frame.timestamp, DIGITS)}


def _annotation(frame: MaskedFrame, number: int, mask: np.ndarray) -> dict:
    from pycocotools import mask as coco_mask  # here: a registered model writes no COCO, and its environment has none

    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "image_id": frame.index + 1,
        "category_id": CATEGORY["id"],
        "track_id": number,
        "segmentation": {"size": code["size"], "counts": code["counts"].decode("ascii")},
        "area": int(mask.sum()),
        "bbox": bounding_box(mask),
        "iscrowd": 0,  # one object, though its mask is run-length coded
    }
