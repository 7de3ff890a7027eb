"""Predictions on disk: where they lie, whether they are complete, and reading them with suspicion.

A folder of predictions for one dataset holds `<sequence>/<frame>.png`. The pipeline keeps two of them
beside each other: `masks/<dataset>` (0 or 255) and `segments/<dataset>` (the argmax segment, 0 to c-1).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from amd.data.benchmarks.davis import Sequence, is_folder, visible_names
from amd.data.benchmarks.sequences import BenchmarkFrame
from amd.data.images import image_size, read_labels
from amd.runtime.errors import UserError


def masks_folder(folder: Path, dataset: str) -> Path:
    """Where the pipeline keeps the object masks of `dataset` under `folder`."""
    return folder / "masks" / dataset


def segments_folder(folder: Path, dataset: str) -> Path:
    """Where the pipeline keeps the label maps of `dataset` under `folder`."""
    return folder / "segments" / dataset


def prediction_path(folder: Path, sequence: str, frame: str) -> Path:
    """The file of one frame in a folder of predictions for one dataset."""
    return folder / sequence / f"{frame}.png"


def place_of_masks(folder: Path) -> str:
    """Below which folder of a sequence its masks lie: `masks` where `amd segment` wrote them, else none."""
    return "masks" if (folder / "summary.json").is_file() else ""


def check_predictions(sequences: Iterable[Sequence], folder: Path, inner: str = "") -> None:
    """Make sure that `folder` has a prediction of the right size for every annotated frame, and no more.

    Frames without annotation may have one; hidden files are passed over. Only headers are read: pixels are checked
    when a prediction is. `inner` is that of place_of_masks. Raises UserError naming the first missing, stray or
    misshapen entry.
    """
    if not is_folder(folder):
        raise UserError(f"{folder}: no such folder; predictions are <sequence>/<frame>.png in it")
    expected = {sequence.name: sequence for sequence in sequences}
    ours = {"summary.json"} if inner else set()
    for name in visible_names(folder):
        if name not in expected and name not in ours:
            raise UserError(f"{folder / name}: not a sequence of the benchmark; move it away or check the folder given")
    for sequence in expected.values():
        _check_names(sequence, folder / sequence.name / inner)
        _check_sizes(sequence, folder, inner)


def read_prediction(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read one predicted mask as bool of `size` (height, width); UserError for values but 0 and 255."""
    values = _read_sized(path, size)
    if (wrong := values[(values != 0) & (values != 255)]).size:
        raise UserError(
            f"{path}: has the value {wrong[0]}; a mask has 0 (background) and 255 (object) alone: write 255 for every "
            "object of a palette, and threshold soft maps"
        )
    return values == 255


def read_segments(path: Path, size: tuple[int, int], segments: int) -> np.ndarray:
    """Read one label map as uint8 of `size` (height, width); UserError for values of `segments` and above."""
    labels = _read_sized(path, size)
    if labels.max() >= segments:
        raise UserError(f"{path}: has segment {labels.max()}, but the model has {segments}, counted from 0")
    return labels


def size_error(
    frame: BenchmarkFrame, prediction: Path | str, found: tuple[int, ...], annotated: tuple[int, ...]
) -> UserError:
    """The error for a prediction and an annotation of two sizes (height, width): it names what differs from the frame.

    `prediction` is its path, or what it is called.
    """
    height, width = image_size(frame.image)
    if found == (height, width):
        size = f"{annotated[1]}x{annotated[0]}"
        return UserError(f"{frame.truth}: this annotation has {size} pixels, its frame {width}x{height}; replace it")
    size = f"{found[1]}x{found[0]}"
    return UserError(
        f"{prediction}: {size} pixels where the frame has {width}x{height}; write predictions at the frame's own size"
    )


def require_frame_size(frame: BenchmarkFrame, prediction: Path, found: tuple[int, ...]) -> None:
    """UserError that names a prediction which has another size (height, width) than its frame."""
    if found != image_size(frame.image):
        raise size_error(frame, prediction, found, found)


def _check_names(sequence: Sequence, folder: Path) -> None:
    if not is_folder(folder):
        raise UserError(f"{folder}: the predictions of sequence {sequence.name} are missing")
    found = set(visible_names(folder))
    allowed = {f"{frame.name}.png" for frame in sequence.frames}
    required = {f"{frame.name}.png" for frame in sequence.frames if frame.truth}
    if missing := sorted(required - found):
        raise UserError(
            f"{folder / missing[0]}: this prediction is missing "
            f"({len(missing)} of the {len(required)} annotated frames of {sequence.name} are)"
        )
    if stray := sorted(found - allowed):
        raise UserError(f"{folder / stray[0]}: not a frame of sequence {sequence.name}; move it away")


def _check_sizes(sequence: Sequence, folder: Path, inner: str) -> None:
    for frame in sequence.frames:
        if frame.truth:
            path = prediction_path(folder, f"{sequence.name}/{inner}", frame.name)
            found, annotated = image_size(path), image_size(frame.truth)
            if found != annotated:
                raise size_error(frame, path, found, annotated)


def _read_sized(path: Path, size: tuple[int, int]) -> np.ndarray:
    values = read_labels(path)
    _require_size(path, values.shape, size)
    return values


def _require_size(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if found != wanted:
        raise UserError(
            f"{path}: {found[1]}x{found[0]} pixels where the annotation has {wanted[1]}x{wanted[0]}; "
            "write predictions at the frame's own size"
        )
