"""The built-in corpus: encoded clips to train on, and held-out clips with exact masks in the DAVIS layout.

    folder/train/clip-0000.mp4 ...
    folder/heldout/JPEGImages/480p/<sequence>/00000.jpg ...    the encoded frames, decoded again
    folder/heldout/Annotations/480p/<sequence>/00000.png ...   0 background, 255 objects
    folder/heldout/ImageSets/sequences.txt
    folder/heldout/videos/<sequence>.mp4

Every clip is a pure function of (seed, split, index); training and held-out clips share no random
stream, hue, coat, ground or shape (amd.data.scenes.TRAIN and HELDOUT).
"""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from amd.data import drawing, scenes
from amd.files import atomic_folder
from amd.params import Corpus
from amd.progress import progress

CRF = "20"  # quality of the H.264 encoding, as a phone's
JPEG_QUALITY = 95


def make_corpus(folder: Path, corpus: Corpus) -> None:
    """Render, encode and lay out the whole corpus; `folder` appears whole or not at all."""
    with atomic_folder(folder) as part:
        sequences = [f"clip-{index:04d}" for index in range(corpus.heldout_clips)]
        tasks = [(_make_train_clip, part / "train", index) for index in range(corpus.train_clips)]
        tasks += [(_make_heldout_clip, part / "heldout", index) for index in range(corpus.heldout_clips)]
        (part / "train").mkdir()
        (part / "heldout/videos").mkdir(parents=True)
        (part / "heldout/ImageSets").mkdir()
        (part / "heldout/ImageSets/sequences.txt").write_text("".join(f"{name}\n" for name in sequences))
        _in_processes(tasks, corpus)


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


def _in_processes(tasks: list, corpus: Corpus) -> None:
    """Run (function, folder, index) tasks on `corpus.workers` processes; the first error ends them all."""
    pool = ProcessPoolExecutor(
        min(corpus.workers, len(tasks)), multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        running = [pool.submit(function, folder, index, corpus) for function, folder, index in tasks]
        for done in progress(as_completed(running), "corpus", len(running), "clips"):
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread of OpenCV per process, and no life after the parent's death."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _make_train_clip(folder: Path, index: int, corpus: Corpus) -> None:
    frames, _ = render_clip(
        clip_seed(corpus.seed, scenes.TRAIN, index), corpus.frames, corpus.height, corpus.width, scenes.TRAIN
    )
    encode(folder / f"clip-{index:04d}.mp4", frames, corpus.fps)


def _make_heldout_clip(folder: Path, index: int, corpus: Corpus) -> None:
    frames, labels = render_clip(
        clip_seed(corpus.seed, scenes.HELDOUT, index),
        corpus.frames,
        corpus.height,
        corpus.width,
        scenes.HELDOUT,
    )
    name = f"clip-{index:04d}"
    video = folder / f"videos/{name}.mp4"
    encode(video, frames, corpus.fps)
    images, annotations = folder / "JPEGImages/480p" / name, folder / "Annotations/480p" / name
    images.mkdir(parents=True)
    annotations.mkdir(parents=True)
    with av.open(str(video)) as container:
        for number, (frame, label) in enumerate(zip(container.decode(video=0), labels, strict=True)):
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(
                images / f"{number:05d}.jpg", quality=JPEG_QUALITY
            )
            Image.fromarray(np.where(label > 0, np.uint8(255), np.uint8(0))).save(
                annotations / f"{number:05d}.png"
            )


def encode(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write frames uint8 T,H,W,3 (even H and W) as H.264 in MP4, byte for byte repeatable."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": CRF, "preset": "medium", "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
