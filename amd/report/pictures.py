"""What a held-out sequence looks like: frame, truth, masks and segment flow as small embedded pictures.

Input: a benchmark sequence, its predictions on disk, the model before adaptation. Output: every frame's J, pictures of
its worst, median and best frame, and a clip of its masks, as data URIs.
"""

import base64
import io
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from amd.data.benchmarks.davis import BenchmarkFrame, Sequence
from amd.data.benchmarks.predictions import masks_folder, prediction_path, read_prediction
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image
from amd.draw.colours import flow_colours
from amd.draw.overlay import draw_mask
from amd.draw.video import VP9_SMALL, encoded_video
from amd.evaluation.metrics import jaccard
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.runtime.errors import UserError
from amd.training.adaptation import shrink

THUMBNAIL = 320  # pixels of the longer edge
QUALITY = 82  # of the JPEGs
CLIP_FRAMES, CLIP_FPS = 48, 12  # of a sequence's clip, spread over all of it
CLIPS = 6_000_000  # characters of all clips on a page: with the pictures it stays below 15 MB
EMBEDDED = 400_000  # bytes of a picture file that is embedded as it is
WIDEST = 1680  # pixels of one that is shrunk

# Chosen to stay apart for colour-blind eyes and on most footage. The page's legend uses the same.
HIT, MISS, FALSE_ALARM = (0, 190, 140), (70, 120, 255), (255, 96, 32)
OUTLINE = (255, 255, 255)


@dataclass(frozen=True)
class FramePictures:
    """One frame: its data URIs by kind (frame, truth, flow, or a prediction's name); None where there is none."""

    name: str
    rank: str  # worst | median | best, or first | middle | last, or only
    index: int  # in the curve
    scores: dict[str, float]  # J by prediction
    pictures: dict[str, str | None]


@dataclass(frozen=True)
class SequencePictures:
    """One sequence: J of every scored frame by prediction, and pictures of a few frames."""

    name: str
    curves: dict[str, list[float]]
    frames: list[FramePictures]
    longest_flow: float  # pixels of the frame per step: what full saturation means
    clip: str | None = None  # its masks drawn over its frames, a WebM; None where one is missing

    @property
    def means(self) -> dict[str, float]:
        """J by prediction, mean over the scored frames."""
        return {name: float(np.mean(curve)) for name, curve in self.curves.items()}


def picture_sequence(
    sequence: Sequence, folders: Mapping[str, Path], judge: str, model: AMD, info: ModelInfo
) -> SequencePictures:
    """Pictures of a sequence, its frames chosen by the J of the prediction `judge`, else of another, else by place.

    `folders` are those of the predictions by name. A prediction with missing frames has no curve. Raises
    UserError for files that are damaged or of the wrong size, and for a sequence without a frame that counts.
    """
    frames = sequence.scored_frames
    if not frames:
        raise UserError(f"sequence {sequence.name}: no annotated frame counts, so none is shown")
    found = {name: _curve(sequence, masks_folder(folder, sequence.dataset)) for name, folder in folders.items()}
    curves = {name: curve for name, curve in found.items() if curve is not None}
    by_place = representatives(range(len(frames)), ("first", "middle", "last"))
    curve = curves.get(judge) or next(iter(curves.values()), None)
    chosen = representatives(curve) if curve else by_place
    flows = {index: _segment_flow(sequence, frames[index], model, info) for index in chosen}
    longest = max((float(np.hypot(*flow).max()) for flow in flows.values() if flow is not None), default=0.0)
    pictures = []
    for index, rank in chosen.items():
        scores, flow = {name: curve[index] for name, curve in curves.items()}, flows[index]
        shown = _frame_pictures(sequence, frames[index], folders)
        shown["flow"] = None if flow is None else jpeg_uri(flow_colours(flow, longest))
        pictures.append(FramePictures(name=frames[index].name, rank=rank, index=index, scores=scores, pictures=shown))
    clip = _clip(sequence, masks_folder(folders[judge], sequence.dataset)) if judge in folders else None
    return SequencePictures(sequence.name, curves, pictures, longest, clip)


def within_budget(sequences: Iterable[SequencePictures], characters: int = CLIPS) -> list[SequencePictures]:
    """The sequences; clips are left out from where all of them would be larger."""
    kept, used = [], 0
    for sequence in sequences:
        used += len(sequence.clip or "")
        kept.append(sequence if used <= characters else replace(sequence, clip=None))
    return kept


def representatives(
    scores: Iterable[float], ranks: tuple[str, str, str] = ("worst", "median", "best")
) -> dict[int, str]:
    """Worst, median and best index of `scores`, worst first, each index once; "only" when there is one."""
    scores, (low, median, high) = list(scores), ranks
    order = sorted(range(len(scores)), key=lambda index: (scores[index], index))
    if len(order) == 1:
        return {order[0]: "only"}
    middle = {order[len(order) // 2]: median} if len(order) > 2 else {}
    return {order[0]: low} | middle | {order[-1]: high}


def draw_truth(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The frame uint8 H,W,3 with all but the true object darkened and the object outlined."""
    dark = image * np.float32(0.35)
    return _outlined(np.where(truth[..., None], image, dark).astype(np.uint8), truth)


def draw_errors(image: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The frame uint8 H,W,3 tinted where `mask` hits, misses or falsely claims the truth; the mask outlined."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] * np.float32(0.7)
    drawn = np.repeat(grey, 3, axis=2)
    for where, colour in ((mask & truth, HIT), (truth & ~mask, MISS), (mask & ~truth, FALSE_ALARM)):
        drawn[where] = 0.4 * drawn[where] + 0.6 * np.array(colour, np.float32)
    return _outlined(drawn.astype(np.uint8), mask)


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a frame's thumbnail; small frames stay as they are."""
    scale = min(1.0, THUMBNAIL / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def jpeg_uri(image: np.ndarray) -> str:
    """An RGB image uint8 H,W,3 as a JPEG data URI; colours at full resolution, as outlines are thin."""
    return _data_uri(image, "jpeg", quality=QUALITY, subsampling=0, optimize=True)


def file_uri(path: Path) -> str:
    """A picture file as a data URI; a large one is shrunk and becomes a JPEG.

    UserError when it does not decode.
    """
    image = read_image(path)
    if path.stat().st_size <= EMBEDDED:
        return png_uri(image)
    scale = min(1.0, WIDEST / image.shape[1])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return jpeg_uri(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def png_uri(image: np.ndarray) -> str:
    """An image uint8 H,W,3 or H,W,4 as a PNG data URI."""
    return _data_uri(image, "png", optimize=True)


def _curve(sequence: Sequence, folder: Path) -> list[float] | None:
    """J of every scored frame; None when any of the predictions is missing."""
    paths = [prediction_path(folder, sequence.name, frame.name) for frame in sequence.scored_frames]
    if not all(path.is_file() for path in paths):
        return None
    scores = []
    for frame, path in zip(sequence.scored_frames, paths, strict=True):
        truth = read_truth(frame)
        scores.append(jaccard(read_prediction(path, truth.shape), truth))
    return scores


def _clip(sequence: Sequence, folder: Path) -> str | None:
    """Frames with their masks drawn on, at the thumbnail's size, as a WebM's data URI; None when a mask is missing."""
    frames = sequence.frames[:: -(-len(sequence.frames) // CLIP_FRAMES)]
    paths = [prediction_path(folder, sequence.name, frame.name) for frame in frames]
    if not all(path.is_file() for path in paths):
        return None
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "clip.webm"
        with encoded_video(file, VP9_SMALL) as video:
            for number, (frame, path) in enumerate(zip(frames, paths, strict=True)):
                image = read_image(frame.image)
                height, width = thumbnail_size(*image.shape[:2])
                mask = _shrunk(read_prediction(path, image.shape[:2]), height, width)
                small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
                video.write(draw_mask(small, mask), number / CLIP_FPS)
        return f"data:video/webm;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _frame_pictures(sequence: Sequence, frame: BenchmarkFrame, folders: Mapping[str, Path]) -> dict[str, str | None]:
    truth = read_truth(frame)
    height, width = thumbnail_size(*truth.shape)
    image = cv2.resize(read_image(frame.image), (width, height), interpolation=cv2.INTER_AREA)
    small_truth = _shrunk(truth, height, width)
    pictures: dict[str, str | None] = {"frame": jpeg_uri(image), "truth": jpeg_uri(draw_truth(image, small_truth))}
    for name, folder in folders.items():
        path = prediction_path(masks_folder(folder, sequence.dataset), sequence.name, frame.name)
        if path.is_file():
            mask = _shrunk(read_prediction(path, truth.shape), height, width)
            pictures[name] = jpeg_uri(draw_errors(image, mask, small_truth))
        else:
            pictures[name] = None
    return pictures


@torch.no_grad()
def _segment_flow(sequence: Sequence, frame: BenchmarkFrame, model: AMD, info: ModelInfo) -> np.ndarray | None:
    """Segment flow 2,h,w from `frame` to the next, at the thumbnail's size, in pixels of the frame."""
    following = sequence.frames.index(frame) + 1
    if following == len(sequence.frames):
        return None
    images = [read_image(path) for path in (frame.image, sequence.frames[following].image)]
    pair = shrink(images, info.short_edge).float() / 255
    flow = model(pair[:1], pair[1:]).forward_flows[0][0]
    height, width = images[0].shape[:2]
    to_pixels = torch.tensor([width / flow.shape[2], height / flow.shape[1]]).view(2, 1, 1)
    small = thumbnail_size(height, width)
    planes = (flow.cpu() * to_pixels).numpy()
    return np.stack([cv2.resize(plane, small[::-1], interpolation=cv2.INTER_LINEAR) for plane in planes])


def _shrunk(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) >= 0.5


def _outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(image, contours, -1, OUTLINE, 1, cv2.LINE_AA)


def _data_uri(image: np.ndarray, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
