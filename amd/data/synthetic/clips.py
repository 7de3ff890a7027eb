"""The built-in corpus: encoded clips to train on, and held-out clips with exact masks in the DAVIS layout.

    folder/train/clip-0000.mp4 ...
    folder/heldout/JPEGImages/480p/<sequence>/00000.jpg ...    the encoded frames, decoded again
    folder/heldout/Annotations/480p/<sequence>/00000.png ...   0 background, 255 objects
    folder/heldout/ImageSets/sequences.txt
    folder/heldout/videos/<sequence>.mp4

Every clip is a pure function of (seed, split, index); training and held-out clips share no random
stream, hue, coat, ground or shape (amd.data.synthetic.scenes.TRAIN and HELDOUT).
"""

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from amd.config import Corpus
from amd.data.pool import Crash, each_in_pool
from amd.data.synthetic import drawing, scenes
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_folder
from amd.runtime.progress import progress

# crf: the quality of a phone. x264's fast paths differ between CPUs and, for small frames, from run to run
# on one; cpu-independent leaves them out.
X264: dict[str, object] = {"crf": "20", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}
JPEG_QUALITY = 95
IMAGES, MASKS = "JPEGImages/480p", "Annotations/480p"


@dataclass(frozen=True)
class _Clip:
    """One clip to make: where its split goes, its number, and what the corpus is."""

    folder: Path
    index: int
    heldout: bool
    corpus: Corpus

    @property
    def name(self) -> str:
        return f"clip-{self.index:04d}"


def make_corpus(folder: Path, corpus: Corpus) -> None:
    """Render, encode and lay out the whole corpus; `folder` appears whole or not at all."""
    with atomic_folder(folder) as part:
        train, heldout = part / "train", part / "heldout"
        for home in (train, *(heldout / name for name in ("videos", "ImageSets", IMAGES, MASKS))):
            home.mkdir(parents=True)
        clips = [_Clip(train, index, False, corpus) for index in range(corpus.train_clips)]
        held = [_Clip(heldout, index, True, corpus) for index in range(corpus.heldout_clips)]
        (heldout / "ImageSets/sequences.txt").write_text("".join(f"{clip.name}\n" for clip in held))
        _make_all(clips + held, corpus.workers)


def render_clip(
    seed: int, frames: int, height: int, width: int, style: scenes.Style = scenes.TRAIN
) -> tuple[np.ndarray, np.ndarray]:
    """Render one clip: frames uint8 T,H,W,3 and label maps uint8 T,H,W (0 background, 1.. objects)."""
    motion, looks = np.random.default_rng([seed, style.key]).spawn(2)
    plan = scenes.plan(motion, frames, height, width, style)
    return drawing.draw(looks, plan, height, width, style)


def clip_seed(seed: int, style: scenes.Style, index: int) -> int:
    """The seed of clip `index` of a split, for the corpus's own seed."""
    return int(np.random.SeedSequence([seed, style.key, index]).generate_state(1, np.uint64)[0])


def _make_all(clips: list[_Clip], workers: int) -> None:
    """Make clips on `workers` processes; the first error ends them all."""
    with closing(each_in_pool(_make_clip, clips, workers)) as made:
        for clip, outcome in progress(made, "corpus", len(clips), "clips"):
            if isinstance(outcome, Crash):
                raise UserError(f"corpus: {outcome} (at {clip.name}); lower corpus.workers or the clips' size")
            if isinstance(outcome, Exception):
                raise outcome


def _make_clip(clip: _Clip) -> None:
    """Render and encode one clip; a held-out one also as frames and masks."""
    corpus, style = clip.corpus, scenes.HELDOUT if clip.heldout else scenes.TRAIN
    seed = clip_seed(corpus.seed, style, clip.index)
    frames, labels = render_clip(seed, corpus.frames, corpus.height, corpus.width, style)
    video = clip.folder / ("videos" if clip.heldout else "") / f"{clip.name}.mp4"
    encode(video, frames, corpus.fps)
    if clip.heldout:
        _lay_out(video, labels, clip)


def _lay_out(video: Path, labels: np.ndarray, clip: _Clip) -> None:
    """Write the frames of an encoded video, with its codec's noise, and their exact masks."""
    images, masks = clip.folder / IMAGES / clip.name, clip.folder / MASKS / clip.name
    images.mkdir()
    masks.mkdir()
    with av.open(str(video)) as container:
        for number, (frame, label) in enumerate(zip(container.decode(video=0), labels, strict=True)):
            image = Image.fromarray(frame.to_ndarray(format="rgb24"))
            image.save(images / f"{number:05d}.jpg", quality=JPEG_QUALITY)
            Image.fromarray(np.where(label > 0, np.uint8(255), np.uint8(0))).save(masks / f"{number:05d}.png")


def encode(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write frames uint8 T,H,W,3 (even H and W) as H.264 in MP4, byte for byte repeatable."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = X264
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
