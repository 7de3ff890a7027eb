"""The good files that are mutated: small, real, and made here, so that no data has to travel with the fuzzer.

clip.{mp4,mkv,avi,webm,mov}  manifest.parquet  shards/  {model,semantic,embedding,state}.safetensors  plain.pth
split.txt (with clip.mp4 and frames/)  params.yaml  flow.flo  mask.png  picture.{jpg,png,gif,webp,bmp}  davis/
"""

import struct
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from amd.config.profiles import load_profile, profile_path
from amd.data.ingest.manifest import ingest
from amd.data.pairs.write import write_shards
from amd.data.tables import MANIFEST, SEGMENTS, write_table
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork, save_embedding
from amd.models.semantic import SemanticArchitecture, SemanticInfo, SemanticNetwork, save_semantic
from amd.training.loop import Progress, save_state

CODECS = {".mp4": "libx264", ".mkv": "libx265", ".avi": "mpeg4", ".webm": "libvpx-vp9", ".mov": "libx264"}
SIZE = (64, 48)  # width, height
FRAMES = 6
ARCHITECTURE = Architecture("small", 3, 4, 0.1, "small", 64, 64)


def make_seeds(folder: Path) -> None:
    """Write every seed into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    images = _images()
    for suffix, codec in CODECS.items():
        _encode(folder / f"clip{suffix}", codec, images)
    _pictures(folder, images)
    _shards(folder)
    _models(folder)
    (folder / "split.txt").write_text("clip.mp4\nframes\nframes 00000.png 00001.png 00003.png\nclip.mkv\n")
    (folder / "params.yaml").write_text(profile_path("quickstart").read_text())
    flow = np.random.default_rng(0).normal(size=(SIZE[1], SIZE[0], 2)).astype("<f4")
    (folder / "flow.flo").write_bytes(struct.pack("<fii", 202021.25, *SIZE) + flow.tobytes())


def _images() -> list[np.ndarray]:
    """A noisy picture that moves."""
    picture = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return [np.roll(picture, 3 * number, axis=1) for number in range(FRAMES)]


def _encode(path: Path, codec: str, images: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _pictures(folder: Path, images: list[np.ndarray]) -> None:
    (folder / "frames").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"frames/{number:05d}.png")
    for suffix in ("jpg", "png", "gif", "webp", "bmp"):
        Image.fromarray(images[0]).save(folder / f"picture.{suffix}")
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
    save_semantic(folder / "semantic.safetensors", SemanticNetwork(looks), SemanticInfo(looks, 48))
    embeds = EmbeddingArchitecture("small", 4, 0.1, ("dog", "cat"))
    save_embedding(folder / "embedding.safetensors", EmbeddingNetwork(embeds), EmbeddingInfo(embeds))
    layer = torch.nn.Linear(4, 3)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(2, 4)).sum().backward()
    optimiser.step()
    save_state(folder / "state.safetensors", layer, optimiser, Progress(3, history=[{"loss": 1.0}]))
    torch.save({"state_dict": layer.state_dict()}, folder / "plain.pth")
