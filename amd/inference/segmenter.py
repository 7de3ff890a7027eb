"""The product in Python: images or videos in, masks of the object out.

    segmenter = Segmenter.from_pretrained()                        # what moves, without a model
    for frame in segmenter.segment_video("clip.mp4"):              # one at a time, whatever the length
        print(frame.timestamp, frame.area, frame.confidence)
        frame.save(f"{frame.name}.png")

`amd segment` is this with files (amd.inference.inputs); the pipeline's stages use `segment_sequence`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amd.config import Fused
from amd.data.benchmarks.davis import Sequence
from amd.data.benchmarks.predictions import masks_folder, prediction_path, segments_folder
from amd.data.images import read_image, write_labels, write_mask
from amd.data.video.sources import find_inputs
from amd.inference.choice import Choice
from amd.inference.export import MaskedFrame
from amd.inference.methods import Method, open_method
from amd.inference.video import Span, Video, held_frames
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, object_segment
from amd.models.inference import label_map, soft_masks
from amd.runtime.errors import UserError


class Segmenter:
    """Segments images and videos by one method.

    Examples:
        >>> import numpy as np
        >>> black = [np.zeros((48, 64, 3), np.uint8)] * 3
        >>> [frame.mask.any() for frame in Segmenter.from_pretrained(method="flow").segment_video(black)]
        [False, False, False]
    """

    def __init__(self, method: Method) -> None:
        self.method = method

    @classmethod
    def from_pretrained(
        cls,
        uri: str | None = None,
        method: str | None = None,
        adapt: int | None = None,
        segment: int | None = None,
        device: str = "auto",
        threads: int = 1,
        settings: Fused | None = None,
    ) -> "Segmenter":
        """With the model that `uri` names, or without one by what moves (amd.inference.methods).

        `adapt` is the number of iterations of adaptation to each video, `segment` the object's in place of the
        model's own, `settings` those of what moves. UserError for a model that cannot be had, and for words that do
        not go together.

        Examples:
            >>> Segmenter.from_pretrained(method="flow").method.summary()["method"]
            'flow'
        """
        return cls(
            open_method(
                Choice(uri, method, adapt, segment, device=device, threads=threads, settings=settings or Fused())
            )
        )

    def segment_image(self, image: Any) -> MaskedFrame:
        """The object's mask of one image: a path, or an array or tensor H,W,3 or 3,H,W, uint8 or float in [0, 1].

        Files are taken upright as their EXIF orientation says. UserError for an array of another kind, and for a
        method that needs motion.

        Examples:
            >>> Segmenter.from_pretrained(method="flow").segment_image(np.zeros((3, 8, 8), np.uint8))
            Traceback (most recent call last):
            amd.runtime.errors.UserError: a photo has no motion to see objects by; give a model of single images ...
        """
        pixels = read_image(image, upright=True) if isinstance(image, str | Path) else as_image(image)
        return next(iter(self.method.masks(held_frames([pixels], one_image=True))))

    def segment_video(
        self, video: Any, start: float = 0.0, end: float | None = None, every: int = 1
    ) -> Iterator[MaskedFrame]:
        """Each frame of a video with its mask, in order: a path (a file or a folder of images), or a list of frames.

        Frames are as of `segment_image`; an iterator of frames is held in memory, since most methods read them twice.
        `start` and `end` are seconds, `every` takes each n-th frame.

        Examples:
            >>> frames = np.zeros((2, 32, 32, 3), np.uint8)
            >>> [frame.index for frame in Segmenter.from_pretrained(method="flow").segment_video(frames)]
            [0, 1]
        """
        span = Span(start, end, every)
        if not isinstance(video, str | Path):
            return self.method.masks(held_frames([as_image(frame) for frame in video], span))
        sources = find_inputs(Path(video))
        if len(sources) != 1:
            raise UserError(f"{video}: holds {len(sources)} inputs; give one of them")
        return self.method.masks(Video(sources[0], span))


def as_image(given: Any) -> np.ndarray:
    """An array or tensor as uint8 RGB H,W,3; UserError when it is no image.

    Examples:
        >>> as_image(np.full((3, 4, 5), 0.5)).shape, int(as_image(torch.full((4, 5, 3), 0.5))[0, 0, 0])
        ((4, 5, 3), 128)
    """
    image = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] == 3:
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(f"an image has shape H,W,3 or 3,H,W, not {tuple(np.shape(given))}")
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
            raise UserError("a float image has values from 0 to 1; give uint8 for 0 to 255")
        image = np.rint(image * 255)
    elif not np.issubdtype(image.dtype, np.integer) or image.min() < 0 or image.max() > 255:
        raise UserError(f"an image is uint8, or float from 0 to 1, not {image.dtype}")
    return np.ascontiguousarray(image, dtype=np.uint8)


def segment_sequence(model: AMD, info: ModelInfo, sequence: Sequence, folder: Path, dataset: str) -> None:
    """Write the object mask and the label map of every frame of a benchmark's sequence under `folder`.

    The files are those of amd.data.benchmarks.predictions. UserError when the model has no object segment or a frame
    cannot be read.
    """
    chosen = object_segment(info)
    for frame in sequence.frames:
        masks = soft_masks(model, torch.from_numpy(read_image(frame.image)), info.short_edge)
        labels = label_map(masks).cpu().numpy()
        write_mask(prediction_path(masks_folder(folder, dataset), sequence.name, frame.name), labels == chosen)
        write_labels(prediction_path(segments_folder(folder, dataset), sequence.name, frame.name), labels)
