"""What is fuzzed: per kind of file, how a seed is mutated and how the product uses the result.

`mutate` enters a random generator, the folder of seeds (fuzz.seeds) and an empty folder, in which it leaves files of
the seeds' names. `use` enters such a folder, or the seeds themselves; it ends well, or with UserError when the file is
refused. Any other exception is a failure of the product.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from amd.config import load_params
from amd.config.profiles import load_profile
from amd.data.benchmarks.davis import open_benchmark
from amd.data.images import image_size, read_image, read_labels, read_mask
from amd.data.ingest.examine import Limits, examine
from amd.data.ingest.manifest import read_manifest
from amd.data.ingest.report import terminal_report, validation_report
from amd.data.pairs.read import PairReader
from amd.data.pairs.transforms import PairTransform
from amd.data.tables import INDEX, MANIFEST, read_table
from amd.data.video.decode import DecodeError, Source, read_frames
from amd.data.video.sources import find_inputs
from amd.models.amd import AMD
from amd.models.checkpoint import load_reference, object_segment
from amd.models.inference import soft_masks
from amd.models.loading import open_as, open_model
from amd.motion.flow import read_flo
from amd.runtime.errors import UserError
from amd.training.loop import load_state
from fuzz.forgery import forged_safetensors, forged_tar, write_forged_table
from fuzz.mutation import mutated_bytes, mutated_text

VIDEOS = (
    *("clip.mp4", "clip.mkv", "clip.avi", "clip.webm", "clip.mov", "clip.ts", "clip.mpg", "clip.flv", "clip.wmv"),
    *("turned.mp4", "holes.mp4", "sizes.ts", "sizes.avi", "moving.webp", "moving.png", "moving.avif"),
)
PICTURES = (
    *("picture.jpg", "picture.png", "picture.gif", "picture.webp", "picture.bmp", "picture.tif", "picture.jp2"),
    *("picture.avif", "picture.heic", "picture.tga", "turned.jpg", "turned.png"),
)
MASK = "mask.png"
VIDEO_LIST = "davis/ImageSets/480p/val.txt"
BATCHES = 3

Mutate = Callable[[random.Random, Path, Path], None]


class Target(NamedTuple):
    """A kind of file."""

    mutate: Mutate
    use: Callable[[Path], object]
    good_seed: bool = True  # whether the file that is mutated can be used


def _bytes(name: str) -> Mutate:
    def mutate(rng: random.Random, seeds: Path, folder: Path) -> None:
        (folder / name).write_bytes(mutated_bytes(rng, (seeds / name).read_bytes()))

    return mutate


def _text(name: str, *beside: str) -> Mutate:
    """The lines of a file; what it names lies `beside` it as it was."""

    def mutate(rng: random.Random, seeds: Path, folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for each in beside:
            (folder / each).symlink_to(seeds / each)
        (folder / name).write_bytes(mutated_text(rng, (seeds / name).read_text()))

    return mutate


def _matrix(rng: random.Random, seeds: Path, folder: Path) -> None:
    """Any numbers in the display matrix, the rest of the video as it was."""
    content = bytearray((seeds / "turned.mp4").read_bytes())
    start = content.index(b"tkhd") + 44  # behind version, times, track, duration, layer and volume
    for place in range(start, start + 36, 4):
        content[place : place + 4] = rng.choice((0, 1 << 16, -1 << 16 & 0xFFFFFFFF, rng.getrandbits(32))).to_bytes(4)
    (folder / "turned.mp4").write_bytes(content)


def _holes(rng: random.Random, seeds: Path, folder: Path) -> None:
    """Zeros or noise in up to a third of the pictures' data, the headers as they were."""
    content = bytearray((seeds / "holes.mp4").read_bytes())
    first = content.index(b"mdat") + 4
    end = first - 8 + int.from_bytes(content[first - 8 : first - 4])
    for _ in range(rng.randint(1, 6)):
        place, width = rng.randrange(first, end), rng.choice((4, 32, 200, (end - first) // 20))
        width = min(width, end - place)
        content[place : place + width] = bytes(width) if rng.random() < 0.7 else rng.randbytes(width)
    (folder / "holes.mp4").write_bytes(content)


def _safetensors(name: str, key: str = "info") -> Mutate:
    def mutate(rng: random.Random, seeds: Path, folder: Path) -> None:
        (folder / name).write_bytes(forged_safetensors(rng, (seeds / name).read_bytes(), key))

    return mutate


def _manifest(rng: random.Random, seeds: Path, folder: Path) -> None:
    write_forged_table(rng, seeds / "manifest.parquet", folder / "manifest.parquet")


def _index(rng: random.Random, seeds: Path, folder: Path) -> None:
    """The index beside good shards."""
    (folder / "shards").mkdir()
    for shard in (seeds / "shards").glob("*.tar"):
        (folder / "shards" / shard.name).symlink_to(shard)
    write_forged_table(rng, seeds / "shards/index.parquet", folder / "shards/index.parquet")


def _shard(rng: random.Random, seeds: Path, folder: Path) -> None:
    """A shard whose index agrees with its size."""
    (folder / "shards").mkdir()
    (row,) = read_table(seeds / "shards/index.parquet", INDEX)
    content = forged_tar(rng, (seeds / "shards" / row["shard"]).read_bytes())
    (folder / "shards" / row["shard"]).write_bytes(content)
    table = pa.Table.from_pylist([row | {"bytes": len(content)}], schema=INDEX)
    pq.write_table(table, folder / "shards/index.parquet")


def _image(rng: random.Random, seeds: Path, folder: Path) -> None:
    _bytes(rng.choice((MASK, *PICTURES)))(rng, seeds, folder)


def use_video(name: str, folder: Path) -> None:
    """As ingest does: its facts, every frame, and the row of the manifest; then as `amd segment` reads it."""
    path = folder / name
    settings = load_profile("quickstart")
    found = examine(Source("case", path), Limits.of(settings.ingest, settings.shard))
    row = dict.fromkeys(MANIFEST.names) | {"video_id": "case", "path": str(path), "bytes": 1, "sha256": "0"} | found
    pa.Table.from_pylist([row], schema=MANIFEST)
    validation_report([row])
    terminal_report([row])
    if row["status"] == "rejected":
        raise UserError(row["reason"])
    _read_whole(path)


def _read_whole(path: Path) -> None:
    """Every frame at its own size by PyAV: of one size and in order, up to the damage."""
    index, size = -1, None
    with suppress(DecodeError):
        for frame in read_frames(Source("case", path, decoder="pyav")):
            size = size or frame.image.shape
            if frame.image.shape != size or frame.index != index + 1 + frame.lost or not np.isfinite(frame.timestamp):
                raise AssertionError(f"frame {frame.index} after {index}, {frame.image.shape} after {size}")
            index = frame.index


def use_shards(folder: Path) -> None:
    """Batches for training."""
    reader = PairReader(folder / "shards/index.parquet", PairTransform(50, 0.96, 48), batch_size=2, seed=0)
    for _ in range(BATCHES):
        next(reader)


def use_checkpoint(folder: Path) -> None:
    """Load it and segment an image."""
    model, info = open_as(AMD, folder / "model.safetensors")
    object_segment(info)
    soft_masks(model, torch.zeros(48, 64, 3, dtype=torch.uint8), info.short_edge)


def use_state(folder: Path) -> None:
    """Go on with a training."""
    layer = torch.nn.Linear(4, 3)
    load_state(folder / "state.safetensors", layer, torch.optim.Adam(layer.parameters()))


def use_split(folder: Path) -> None:
    """List the sources; a line that is wrong makes a source with a problem, and spares the others."""
    sources = find_inputs(folder / "split.txt")
    if len({source.video_id for source in sources}) < len(sources):
        raise AssertionError("two sources of one id")
    if all(source.problem for source in sources):
        raise UserError(sources[0].problem)


def use_images(folder: Path) -> None:
    """Read every picture and mask that is there."""
    for path in sorted(folder / name for name in (MASK, *PICTURES) if (folder / name).exists()):
        for read in (read_image, read_mask, read_labels) if path.name == MASK else (read_image,):
            read(path)
        if path.name != MASK and read_image(path, upright=True).shape[:2] != image_size(path, upright=True):
            raise AssertionError("another size than its header says")


TARGETS: dict[str, Target] = {
    **{f"video {name}": Target(_bytes(name), partial(use_video, name)) for name in VIDEOS},
    "display matrix": Target(_matrix, partial(use_video, "turned.mp4")),
    "holes": Target(_holes, partial(use_video, "holes.mp4")),
    "manifest": Target(_manifest, lambda folder: read_manifest(folder / "manifest.parquet")),
    "shard": Target(_shard, use_shards),
    "shard index": Target(_index, use_shards),
    "checkpoint": Target(_safetensors("model.safetensors"), use_checkpoint),
    "semantic model": Target(
        _safetensors("semantic.safetensors"), lambda folder: open_model(folder / "semantic.safetensors")
    ),
    "embedding": Target(
        _safetensors("embedding.safetensors"), lambda folder: open_model(folder / "embedding.safetensors")
    ),
    "training state": Target(_safetensors("state.safetensors", "progress"), use_state),
    # A whole reference has 100 MB: this one is too small, which is found out after it was read.
    "reference .pth": Target(_bytes("plain.pth"), lambda folder: load_reference(folder / "plain.pth"), False),
    "split file": Target(_text("split.txt", "clip.mp4", "clip.mkv", "frames"), use_split),
    "params.yaml": Target(_text("params.yaml"), lambda folder: load_params(folder / "params.yaml")),
    ".flo": Target(_bytes("flow.flo"), lambda folder: read_flo(folder / "flow.flo")),
    "image, mask": Target(_image, use_images),
    "HEIC": Target(_bytes("picture.heic"), use_images),
    "benchmark list": Target(
        _text(VIDEO_LIST, "davis/JPEGImages", "davis/Annotations"),
        lambda folder: open_benchmark("davis2016", folder / "davis"),
    ),
}
