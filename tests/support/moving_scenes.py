"""Encoded clips in which a square moves before a ground that stays, with their rows of the manifest."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import webdataset

from amd.config import Shard
from amd.data.synthetic.clips import encode
from amd.data.tables import MANIFEST

HEIGHT, WIDTH, FRAMES = 120, 160, 10
EVERY_PAIR = Shard(
    fps=None, short_edge=None, gap=1, quality=95, pairs_per_shard=4, min_change=0.0, max_change=255.0, workers=1
)


def texture(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 200, cv2.NORM_MINMAX).astype(np.uint8)


def scene(seed: int, speed: int, frames: int = FRAMES) -> np.ndarray:
    """uint8 T,120,160,3: a texture that stays, and in it a square of another one that moves `speed` pixels a frame."""
    ground, thing = texture(seed, HEIGHT, WIDTH), 255 - texture(seed + 100, 44, 44)
    made = np.repeat(ground[None], frames, 0)
    for number, frame in enumerate(made):
        left = 20 + speed * number
        frame[36:80, left : left + 44] = thing
    return made


def row(path: Path, frames: int, **facts: object) -> dict:
    """An accepted row of the manifest of a video file."""
    accepted = {
        "video_id": path.stem, "path": str(path), "kind": "video", "decoder": "decord",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size, "frames": frames,
        "status": "accepted", "reason": "",
    }  # fmt: skip
    return dict.fromkeys(MANIFEST.names) | accepted | facts


def clip(folder: Path, name: str, frames: np.ndarray) -> dict:
    """Frames uint8 T,H,W,3 as folder/<name>.mp4; its row."""
    path = folder / f"{name}.mp4"
    encode(path, frames, 24.0)
    return row(path, len(frames), width=frames.shape[2], height=frames.shape[1], fps=24.0)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def samples(folder: Path, video_id: str) -> list[dict]:
    """Of a video's shards, in order, as WebDataset reads them."""
    urls = [{"url": str(path)} for path in sorted(folder.glob(f"{video_id}-*.tar"))]
    return list(webdataset.tarfile_to_samples()(urls))
