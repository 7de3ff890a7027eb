"""Small copies of benchmarks in their original layouts, for the tests of the readers and of doctor."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 6, 10
LEFT, RIGHT = np.zeros((2, HEIGHT, WIDTH), bool)
LEFT[:, :3], RIGHT[2:4, 7:] = True, True


def save(path: Path, pixels: np.ndarray | None = None, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8) if pixels is None else pixels).save(path, **options)


def grey(mask: np.ndarray) -> np.ndarray:
    return mask * np.uint8(255)


def write_davis(
    root: Path,
    name: str,
    frames: Iterable[tuple[np.ndarray | None, np.ndarray]],
    suffix: str = "jpg",
    **options: object,
) -> Path:
    """A sequence in the layout of DAVIS 2016: images uint8 H,W,3 (None: black ones) and their masks bool H,W."""
    for number, (image, truth) in enumerate(frames):
        save(root / f"JPEGImages/480p/{name}/{number:05d}.{suffix}", image, **options)
        save(root / f"Annotations/480p/{name}/{number:05d}.png", grey(truth))
    return root


def write_segtrack(root: Path) -> Path:
    for number in range(3):
        save(root / f"JPEGImages/frog/frog_{number}.png")
        save(root / f"GroundTruth/frog/frog_{number}.bmp", grey(LEFT))
        save(root / f"JPEGImages/bmx/bmx_{number}.bmp")
        save(root / f"GroundTruth/bmx/1/bmx_{number}.png", grey(LEFT))
    save(root / "GroundTruth/bmx/2/bmx_1.png", grey(RIGHT))  # the second object is away in two frames
    return root


def write_fbms(root: Path) -> Path:
    """A colour-coded, a grey and a defined sequence, in both sets."""
    coloured = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    coloured[LEFT], coloured[RIGHT] = (0, 0, 0), (255, 255, 0)  # black is an object here
    for name, split in {"bear01": "Testset", "marple1": "Testset", "cars1": "Trainingset"}.items():
        for number in range(1, 5):
            save(root / split / name / f"{name}_{number:03d}.jpg")
    bear = root / "Testset/bear01/GroundTruth"
    save(bear / "bear01_001_gt.ppm", coloured)
    save(bear / "bear01_001_gt.pgm", grey(~RIGHT))  # its lossy copy
    save(bear / "bear01_001PROB_gt.ppm", coloured)
    save(root / "Testset/marple1/GroundTruth/marple1_003.pgm", np.where(LEFT, 85, np.where(RIGHT, 255, 0)).astype("u1"))
    cars = root / "Trainingset/cars1/GroundTruth"
    save(cars / "cars1_002.pgm", np.where(LEFT, 0, np.where(RIGHT, 40, 160)).astype("u1"))
    (cars / "cars1Def.dat").write_text("Total number of regions:\n3\nScale of region 0:\n160\nScale of region 1:\n0\n")
    return root


def write_youtube(root: Path) -> Path:
    for number in range(0, 20, 5):
        save(root / f"JPEGImages/0a/{number:05d}.jpg")
    palette = Image.fromarray((LEFT * 1 + RIGHT * 2).astype(np.uint8))
    palette.putpalette([0, 0, 0, 0, 0, 0, 9, 9, 9])  # object 1 is painted black
    (root / "Annotations/0a").mkdir(parents=True)
    palette.save(root / "Annotations/0a/00005.png")
    (root / "meta.json").write_text(json.dumps({"videos": {"0a": {"objects": {}}}}))
    return root
