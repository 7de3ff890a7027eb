"""The good files that are mutated: small, real, and made here, so that no data has to travel with the fuzzer.

clip.{mp4,mkv,avi,webm,mov,ts,mpg,flv,wmv}  sizes.{ts,avi} (a size that changes)  moving.{webp,png,avif}
turned.mp4 (a display matrix)  turned.{jpg,png} (EXIF)  holes.mp4 (a sample of zeros)
picture.{jpg,png,gif,webp,bmp,tif,jp2,avif,heic,tga}  mask.png  flow.flo  davis/
manifest.parquet  shards/  {model,semantic,embedding,state}.safetensors  plain.pth
split.txt (with clip.mp4 and frames/)  params.yaml
"""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import ExifTags, Image

from amd.config.profiles import load_profile, profile_text
from amd.data.ingest.manifest import ingest
from amd.data.pairs.write import write_shards
from amd.data.tables import MANIFEST, SEGMENTS, write_table
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork
from amd.models.semantic import SemanticArchitecture, SemanticInfo, SemanticNetwork
from amd.training.loop import Progress, save_state

CODECS = {
    **{"clip.mp4": "libx264", "clip.mkv": "libx265", "clip.avi": "mpeg4", "clip.webm": "libvpx-vp9"},
    **{"clip.mov": "libx264", "clip.ts": "libx264", "clip.mpg": "mpeg2video", "clip.flv": "flv", "clip.wmv": "wmv2"},
    **{"turned.mp4": "libx264", "holes.mp4": "libx264"},
}
MIRRORED = struct.pack(">9i", -1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
SIZE = (64, 48)  # width, height
FRAMES = 6
ARCHITECTURE = Architecture("small", 3, 4, 0.1, "small", 64, 64)


def make_seeds(folder: Path) -> None:
    """Write every seed into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    images = _images()
    for name, codec in CODECS.items():
        _encode(folder / name, [images], codec)
    smaller = [np.ascontiguousarray(image[:32, :40]) for image in images]
    _encode(folder / "sizes.ts", [images, smaller], "libx264")
    _encode(folder / "sizes.avi", [images, smaller], "mjpeg")
    _turn(folder / "turned.mp4")
    _blank_a_sample(folder / "holes.mp4")
    _pictures(folder, images)
    _shards(folder)
    _models(folder)
    (folder / "split.txt").write_text("clip.mp4\nframes\nframes 00000.png 00001.png 00003.png\nclip.mkv\n")
    (folder / "params.yaml").write_text(profile_text("quickstart"))
    flow = np.random.default_rng(0).normal(size=(SIZE[1], SIZE[0], 2)).astype("<f4")
    (folder / "flow.flo").write_bytes(struct.pack("<fii", 202021.25, *SIZE) + flow.tobytes())


def _images() -> list[np.ndarray]:
    """A noisy picture that moves."""
    picture = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return [np.roll(picture, 3 * number, axis=1) for number in range(FRAMES)]


def _encode(path: Path, parts: list[list[np.ndarray]], codec: str) -> None:
    """A video of several groups of pictures; the images of a part have one size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number, images in enumerate(parts):
            encoder = av.CodecContext.create(codec, "w")
            encoder.height, encoder.width = images[0].shape[:2]
            encoder.pix_fmt, encoder.gop_size = stream.pix_fmt, 4
            encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
            if container.format.flags & av.format.Flags.global_header.value:
                encoder.flags |= av.codec.context.Flags.global_header.value
            for packet in _packets(encoder, images, number * len(images)):
                packet.stream = stream
                container.mux(packet)


def _packets(encoder: av.VideoCodecContext, images: list[np.ndarray], start: int) -> Iterator[av.Packet]:
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = start + number, encoder.time_base
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _turn(path: Path) -> None:
    """Write a display matrix that mirrors into the track's header."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # behind version, times, track, duration, layer and volume
    content[start : start + len(MIRRORED)] = MIRRORED
    path.write_bytes(content)


def _blank_a_sample(path: Path) -> None:
    """Write zeros over the third sample's data."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][2]
        start, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)


def _pictures(folder: Path, images: list[np.ndarray]) -> None:
    (folder / "frames").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"frames/{number:05d}.png")
    first, *others = [Image.fromarray(image) for image in images]
    for suffix in ("jpg", "png", "gif", "webp", "bmp", "tif", "jp2", "avif", "heic", "tga"):
        first.save(folder / f"picture.{suffix}")
    for suffix in ("webp", "png", "avif"):
        first.save(folder / f"moving.{suffix}", save_all=True, append_images=others, duration=40)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for suffix in ("jpg", "png"):
        first.save(folder / f"turned.{suffix}", exif=exif)
    mask = (images[0][..., 0] > 128).astype(np.uint8) * 255
    Image.fromarray(mask).save(folder / "mask.png")
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        home = folder / "davis" / kind / "480p" / "dog"
        home.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(mask).save(home / f"{number:05d}.{suffix}")
    (folder / "davis/ImageSets/480p").mkdir(parents=True)
    (folder / "davis/ImageSets/480p/val.txt").write_text(
        "".join(f"/JPEGImages/480p/dog/{n:05d}.jpg /Annotations/480p/dog/{n:05d}.png\n" for n in range(3))
    )


def _shards(folder: Path) -> None:
    settings = load_profile("quickstart")
    shard = settings.shard.model_copy(update={"short_edge": None, "max_change": 255.0, "workers": 1})
    rows = ingest(folder / "clip.mp4", settings.ingest.model_copy(update={"workers": 1}), shard)
    write_table(folder / "manifest.parquet", MANIFEST, rows)
    write_shards(rows, folder / "shards", shard)


def _models(folder: Path) -> None:
    model = AMD(ARCHITECTURE)
    segments = [dict.fromkeys(SEGMENTS.names, 0.5) | {"segment": number, "frames": 4} for number in range(3)]
    info = ModelInfo(ARCHITECTURE, 1, 48, segments, load_profile("quickstart").model_dump(by_alias=True))
    save_checkpoint(folder / "model.safetensors", model, info)
    looks = SemanticArchitecture("small", 4, 0.1, ("background", "dog"))
    save_checkpoint(folder / "semantic.safetensors", SemanticNetwork(looks), SemanticInfo(looks, 48))
    embeds = EmbeddingArchitecture("small", 4, 0.1, ("dog", "cat"))
    save_checkpoint(folder / "embedding.safetensors", EmbeddingNetwork(embeds), EmbeddingInfo(embeds))
    layer = torch.nn.Linear(4, 3)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(2, 4)).sum().backward()
    optimiser.step()
    save_state(folder / "state.safetensors", layer, optimiser, Progress(3, history=[{"loss": 1.0}]))
    torch.save({"state_dict": layer.state_dict()}, folder / "plain.pth")
