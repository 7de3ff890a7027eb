"""The built-in images with instances, in the layout of Pascal VOC: what an instance embedding is trained on anywhere.

    folder/JPEGImages/train-00000.jpg ...          one to four objects, which may cover one another
    folder/SegmentationClass/train-00000.png ...   0 background, else the number of the object's shape family
    folder/SegmentationObject/train-00000.png ...  0 background, 1.. objects; exact, so nothing is void
    folder/ImageSets/Segmentation/train.txt, val.txt
    folder/classes.txt                             the shape families by number, from 1

Train and val share no hue, coat, ground or shape (amd.data.synthetic.scenes.TRAIN and HELDOUT): val's objects are
held out. Every image is a pure function of (seed, split, index).
"""

import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from amd.config import InstanceCorpus
from amd.data.benchmarks.image_sets import VOC_LISTS
from amd.data.benchmarks.instances import CLASSES_FILE, IMAGES, INSTANCE_MASKS, SEMANTIC_MASKS
from amd.data.images import write_labels
from amd.data.pool import Crash, each_in_pool
from amd.data.synthetic import drawing, scenes, shapes
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_folder
from amd.runtime.progress import progress

SPLITS = {"train": scenes.TRAIN, "val": scenes.HELDOUT}
FAMILIES = tuple(maker.__name__ for style in SPLITS.values() for maker in style.makers)  # class 1, 2, ...
STREAM = 100  # sets the random stream apart from that of the clips with the same seed
OBJECTS = 4  # at most
SHARE = (0.05, 0.25)  # of the frame: an object's area where it is alone; several share it
TURN = 0.2  # radians, standard deviation
VISIBLE = 0.4  # share of an object that must be neither covered nor outside of the frame
ATTEMPTS = 30
JPEG_QUALITY = 92


@dataclass(frozen=True)
class _Picture:
    """One image to make."""

    folder: Path
    split: str
    index: int
    corpus: InstanceCorpus

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}"


def make_instance_corpus(folder: Path, corpus: InstanceCorpus) -> None:
    """Render and lay out all images; `folder` appears whole or not at all."""
    with atomic_folder(folder) as part:
        for name in (IMAGES, SEMANTIC_MASKS, INSTANCE_MASKS, VOC_LISTS):
            (part / name).mkdir(parents=True)
        counts = {"train": corpus.train_images, "val": corpus.heldout_images}
        pictures = [_Picture(part, split, index, corpus) for split in counts for index in range(counts[split])]
        for split in counts:
            lines = [f"{picture.name}\n" for picture in pictures if picture.split == split]
            (part / VOC_LISTS / f"{split}.txt").write_text("".join(lines))
        (part / CLASSES_FILE).write_text("".join(f"{name}\n" for name in FAMILIES))
        _make_all(pictures, corpus.workers)


def render_instances(
    seed: tuple[int, ...], height: int, width: int, style: scenes.Style
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image uint8 H,W,3, classes uint8 H,W (see FAMILIES) and instances uint8 H,W of one scene."""
    layout, looks = np.random.default_rng(seed).spawn(2)
    plan, families = _plan(layout, height, width, style)
    frames, labels = drawing.draw(looks, plan, height, width, style)
    instances = labels[0]
    return frames[0], np.array([0, *families], np.uint8)[instances], instances


def _make_all(pictures: list[_Picture], workers: int) -> None:
    with closing(each_in_pool(_make_picture, pictures, workers)) as made:
        for picture, outcome in progress(made, "instances", len(pictures), "images"):
            if isinstance(outcome, Crash):
                raise UserError(f"instances: {outcome} (at {picture.name}); lower instance_corpus.workers or the size")
            if isinstance(outcome, Exception):
                raise outcome


def _make_picture(picture: _Picture) -> None:
    corpus, style = picture.corpus, SPLITS[picture.split]
    seed = (corpus.seed, STREAM, style.key, picture.index)
    image, classes, instances = render_instances(seed, corpus.height, corpus.width, style)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    (picture.folder / IMAGES / f"{picture.name}.jpg").write_bytes(buffer.getvalue())
    write_labels(picture.folder / SEMANTIC_MASKS / f"{picture.name}.png", classes)
    write_labels(picture.folder / INSTANCE_MASKS / f"{picture.name}.png", instances)


def _plan(rng: np.random.Generator, height: int, width: int, style: scenes.Style) -> tuple[scenes.Plan, list[int]]:
    """Objects of which enough is seen, and the class of each; redrawn a few times, then with fewer objects."""
    for objects in range(int(rng.integers(1, OBJECTS + 1)), 1, -1):
        for _ in range(ATTEMPTS):
            plan, families = _draw_plan(rng, height, width, objects, style)
            if _visible_shares(plan, height, width).min() >= VISIBLE:
                return plan, families
    return _draw_plan(rng, height, width, 1, style)


def _draw_plan(
    rng: np.random.Generator, height: int, width: int, objects: int, style: scenes.Style
) -> tuple[scenes.Plan, list[int]]:
    """Objects anywhere in the frame, with the step to a second frame that blurs them as in a clip."""
    kinds = [int(kind) for kind in rng.integers(len(style.makers), size=objects)]
    if rng.random() < 0.5:  # several of one family are what semantics cannot tell apart
        kinds = kinds[:1] * objects
    extent = np.array([width, height])
    camera = np.tile(np.eye(2, 3), (2, 1, 1))
    camera[1, :, 2] = rng.normal(0, scenes.unit_of(height, width), 2)
    things = tuple(_thing(rng, style.makers[kind](rng), extent, objects) for kind in kinds)
    return scenes.Plan(camera, things), [FAMILIES.index(style.makers[kind].__name__) + 1 for kind in kinds]


def _thing(rng: np.random.Generator, shape: shapes.Shape, extent: np.ndarray, objects: int) -> scenes.Thing:
    area, span = shapes.measure(shape)
    share = rng.uniform(*SHARE) / np.sqrt(objects)
    size = min(np.sqrt(share * extent.prod() / area), (scenes.FILL * extent / span).min())
    angle, speed = rng.uniform(0, 2 * np.pi), scenes.unit_of(*extent) * rng.uniform(0, scenes.SPEED[1])
    start = extent * rng.uniform([0.15, 0.3], [0.85, 0.75])
    step = speed * np.array([np.cos(angle), 0.6 * np.sin(angle)])
    return scenes.Thing(
        shape=shape,
        size=float(size),
        facing=int(rng.choice([-1, 1])),
        path=np.stack([start, start + step]),
        turn=np.full(2, rng.normal(0, TURN)),
        scale=np.ones(2),
    )


def _visible_shares(plan: scenes.Plan, height: int, width: int) -> np.ndarray:
    """Of each object: the share that is in the frame and before all others, on a coarse grid."""
    y, x = np.mgrid[-height : 2 * height : 3, -width : 2 * width : 3].astype(np.float32)
    inside = []
    for thing in plan.things:
        pose = plan.pose(thing, 0)
        points = np.einsum("ij,jhw->ihw", np.linalg.inv(pose[:, :2]), np.stack([x - pose[0, 2], y - pose[1, 2]]))
        across, down = points.astype(np.float32)
        inside.append(shapes.field(thing.shape, across, down, 0)[0] < 0)
    front = np.zeros(x.shape, int)
    for number, mask in enumerate(inside, 1):
        front[mask] = number
    front[(y < 0) | (y >= height) | (x < 0) | (x >= width)] = 0
    return np.array([(front == number).sum() / max(mask.sum(), 1) for number, mask in enumerate(inside, 1)])
