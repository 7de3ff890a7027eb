"""Masks of one image at 392x697, of batches and of whole videos.

The image against the plain network, the video's program against the network alone on the same frames.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.data.video.decode import Source
from amd.inference.amd import AmdMethod
from amd.inference.export import SourceInfo, open_exports
from amd.inference.video import Video
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.inference import soft_masks
from amd.models.precision import fastest_precision
from benchmarks.agreement import require_same_masks
from benchmarks.clips import clip, frames
from benchmarks.limits import name
from benchmarks.measure import Row, Setting, compared, goal, growth, in_turn
from benchmarks.workloads import architecture, floats, pairs, plain_twin, sane_model

TIMES_PLAIN = 5.0
GPU_IMAGES_PER_S = 1000.0


def measure(setting: Setting) -> Iterator[Row]:
    """Rows per image, per batch and per video."""
    model = sane_model(architecture("ResNet-50", setting.quick)).to(setting.device)
    yield from image_rows(setting, model)
    yield from batch_rows(setting, model)
    yield from video_rows(setting, sane_model(architecture("quickstart")).to(setting.device))


def image_rows(setting: Setting, model: AMD) -> Iterator[Row]:
    """One image, from its bytes to masks of its own size: as the program does it, and in float32."""
    height, width = (48, 64) if setting.quick else (392, 697)
    image = torch.from_numpy(frames(1, height, width)[0])
    plain = plain_twin(model)
    model.bfloat16 = True  # as a checkpoint whose masks bear it
    require_same_masks(model, pixels(image, setting.device))
    calls = {
        "ours": partial(soft_masks, model, image, None),
        "float32": partial(resized_masks, model.segment, image, setting.device),
        "plain": partial(resized_masks, plain.segment, image, setting.device),
    }
    times = in_turn(setting, calls, 10, 5)
    for ours, target in (("ours", TIMES_PLAIN), ("float32", None)):
        case = f"ResNet-50, an image of {width}x{height}, {'soft_masks' if ours == 'ours' else ours}"
        counted = {"items": 1, "item": "images", "target": target}
        yield compared(case, times, ours, "plain", against="plain float32", **counted)


@torch.inference_mode()
def resized_masks(segment: Callable[[Tensor], Tensor], image: Tensor, device: torch.device) -> Tensor:
    """Masks at the image's own size."""
    return F.interpolate(segment(pixels(image, device)), image.shape[:2], mode="bilinear", align_corners=False)


def pixels(image: Tensor, device: torch.device) -> Tensor:
    """uint8 H,W,3 to float32 1,3,H,W in [0, 1]."""
    return image.to(device).permute(2, 0, 1)[None].contiguous().float() / 255


def batch_rows(setting: Setting, model: AMD) -> Iterator[Row]:
    """Masks of 384x384 batches in the fastest precision, on a GPU against the goal too."""
    dtype = fastest_precision("auto", setting.device)
    edge, sizes = 48 if setting.quick else 384, (1, 2, 4) if setting.device.type == "cpu" else (16, 64)
    calls = {str(size): partial(masks_of, model, floats(pairs(size, edge), setting.device)[0], dtype) for size in sizes}
    times = in_turn(setting, calls, 10, 3)
    yield from growth(f"ResNet-50, {{size}} images of {edge}x{edge}, {name(dtype)}", times, "images")
    if setting.device.type == "cuda":
        case = f"ResNet-50, {sizes[-1]} images of {edge}x{edge}, {name(dtype)}"
        seconds = sizes[-1] / GPU_IMAGES_PER_S
        yield goal(case, times[str(sizes[-1])], seconds, items=sizes[-1], item="images")


@torch.inference_mode()
def masks_of(model: AMD, images: Tensor, dtype: torch.dtype) -> Tensor:
    """Soft masks of a batch."""
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        return model.segment(images)


def video_rows(setting: Setting, model: AMD) -> Iterator[Row]:
    """Decoding, masks and PNG files of a video, against the network alone; growth with the frames."""
    height, width = (64, 96) if setting.quick else (144, 256)
    lengths = (2, 4) if setting.quick else (16, 96)
    clips = {n: clip(setting.scratch / f"{n}x{height}x{width}.mp4", n, height, width) for n in lengths}
    images = [torch.from_numpy(frame) for frame in frames(lengths[-1], height, width)]
    calls = {str(n): partial(segment_video, model, path, setting.scratch) for n, path in clips.items()}
    calls["network"] = lambda: [soft_masks(model, image, None) for image in images]
    times = in_turn(setting, calls, 10, 3)
    longest = str(lengths[-1])
    case = f"small network, a video of {{size}} frames of {width}x{height}"
    counted = {"against": "masks of its frames alone", "items": lengths[-1], "item": "frames"}
    whole = case.format(size=longest)
    yield compared(f"{whole}, with decoding and files", times, longest, "network", **counted)
    yield from growth(case, {n: values for n, values in times.items() if n != "network"}, "frames")


def segment_video(model: AMD, path: Path, scratch: Path) -> None:
    """Masks of every frame as `amd segment` writes them, into a fresh folder."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        method = AmdMethod(model, ModelInfo(model.architecture, 0), 0, None, "")
        with open_exports(("masks",), Path(folder), SourceInfo("clip")) as write:
            for frame in method.masks(Video(Source("clip", path))):
                write(frame)
