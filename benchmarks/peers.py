"""Quality against time: this package's methods beside what users have already, on annotated videos that are given.

    python -m benchmarks.peers DAVIS_FOLDER [--csv FILE] [--plot FILE] [--every N]

Input: a folder in the layout of DAVIS 2016. Output: per method the mean J over sequences at the annotations' size,
first and last frame left out, and seconds a frame, decoding not counted; a table (CSV) and a plot. Every method gets
all frames of a video; `--every N` scores every Nth alone.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from amd.config.fused import Fused
from amd.data.benchmarks.davis import davis2016
from amd.data.benchmarks.sequences import Sequence as Annotated
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image
from amd.data.sizes import resized, small_size
from amd.evaluation.metrics import jaccard
from amd.inference.fused import Method, flow_video, segment_video
from amd.models.evidence import load_evidence
from amd.motion.evidence import motion_evidence
from amd.motion.per_image import packaged_per_image
from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import atomic_path

Masks = Iterator[np.ndarray]  # bool H,W, one a frame
SURE, UNSURE = 0.9, 0.1  # evidence that GrabCut takes for certain
CUT_EDGE = 240  # short edge at which GrabCut works: at full size a frame takes seconds
HISTORY = 20  # frames that background subtraction remembers; its default of 500 is longer than these videos


def background(make: Callable[..., cv2.BackgroundSubtractor]) -> Callable[[list[np.ndarray]], Masks]:
    """OpenCV's background subtraction: for cameras that stand still."""

    def masks(frames: list[np.ndarray]) -> Masks:
        subtractor = make(history=HISTORY, detectShadows=False)
        for frame in frames:
            yield subtractor.apply(frame) > 0

    return masks


def plain_flow(frames: list[np.ndarray]) -> Masks:
    """Flow minus a homography, by Otsu's threshold."""
    return (mask for _, mask in flow_video(frames))


def evidence(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The packaged network's, float32 h,w."""
    network, info = load_evidence()
    return motion_evidence(frames, network, info)


def grab_cut(frames: list[np.ndarray]) -> Masks:
    """OpenCV's GrabCut, begun from the evidence in each frame."""
    for frame, moves in zip(frames, evidence(frames), strict=True):
        size = small_size(frame.shape, CUT_EDGE)
        image, moves = resized(frame, size), resized(moves, size)
        labels = np.where(moves > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[moves > SURE], labels[moves < UNSURE] = cv2.GC_FGD, cv2.GC_BGD
        if (moves > SURE).any() and (moves < UNSURE).any():
            cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
        found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        yield resized(found.astype(np.float32), (frame.shape[0], frame.shape[1])) > 0.5


def ours(method: Method) -> Callable[[list[np.ndarray]], Masks]:
    """`amd segment --method METHOD` without reading and writing."""
    per_image = packaged_per_image()
    return lambda frames: (made.mask for made in segment_video(lambda: frames, evidence, Fused(), method, per_image))


METHODS: dict[str, Callable[[list[np.ndarray]], Masks]] = {
    "OpenCV MOG2": background(cv2.createBackgroundSubtractorMOG2),
    "OpenCV KNN": background(cv2.createBackgroundSubtractorKNN),
    "--method flow": plain_flow,
    "--method motion": ours("motion"),
    "GrabCut from the evidence": grab_cut,
    "--method amd": ours("amd"),
    "--method fused": ours("fused"),
}


def measure(
    masks: Callable[[list[np.ndarray]], Masks], videos: Sequence[Annotated], every: int = 1
) -> tuple[float, float]:
    """Mean J over `videos`, and seconds a frame."""
    scores, seconds, frames = [], 0.0, 0
    for video in videos:
        images = [read_image(frame.image) for frame in video.frames]
        began = time.perf_counter()
        made = list(masks(images))
        seconds, frames = seconds + time.perf_counter() - began, frames + len(images)
        scored = [number for number, frame in enumerate(video.frames) if frame in video.scored_frames][::every]
        scores.append(np.mean([jaccard(made[number], read_truth(video.frames[number])) for number in scored]))
    return float(np.mean(scores)), seconds / frames


def plot(rows: Sequence[tuple[str, float, float]], path: Path) -> None:
    """J against seconds a frame."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    words: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
    for number, (name, score, seconds) in enumerate(rows):
        axes.plot(seconds, score, "o", color="#3b82c4" if name.startswith("--") else "#999999")
        axes.annotate(name, (seconds, score), xytext=(6, -11 if number % 2 else 5), **words)
    axes.set(xscale="log", xlabel="seconds a frame", ylabel="J", ylim=(0, None))
    axes.margins(x=0.25)
    axes.grid(alpha=0.2)
    with atomic_path(path) as part:
        figure.savefig(part, format=path.suffix[1:] or "png", dpi=120)


@exit_on_user_error
def main() -> None:
    """Print a line per method as it comes, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="annotated videos in the layout of DAVIS 2016")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the table")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="J against time, PNG or SVG")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="score every Nth frame alone")
    options = parser.parse_args()
    videos = davis2016(options.folder)
    rows = []
    for name, masks in METHODS.items():
        rows.append((name, *measure(masks, videos, max(1, options.every))))
        print(f"{name:26} J {rows[-1][1]:.3f}  {rows[-1][2]:.3f} s a frame", flush=True)
    if options.csv:
        with atomic_path(options.csv) as part, part.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("Method", "J", "Seconds a frame"))
            writer.writerows((name, f"{score:.3f}", f"{seconds:.3f}") for name, score, seconds in rows)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
