"""Sequential decoding, at a video's own size and resized, against the raw decoders doing the same and nothing else."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from amd.data.video.decode import Source, decord, fit_size, read_frames
from benchmarks.clips import clip
from benchmarks.measure import Row, Seconds, Setting, compared, growth, in_turn

CASES = (  # frames, height, width, short edge
    (192, 144, 256, None),
    (192, 360, 640, None),
    (96, 720, 1280, 128),
    (96, 720, 1280, 480),
    (96, 720, 1280, None),
)
QUICK = ((8, 64, 96, None), (8, 64, 96, 40))

Decode = Callable[[], Iterator[np.ndarray]]  # RGB frames uint8 H,W,3


def measure(setting: Setting) -> Iterator[Row]:
    """Each case, and growth with the frames."""
    for frames, height, width, short_edge in QUICK if setting.quick else CASES:
        path = clip(setting.scratch / f"{frames}x{height}x{width}.mp4", frames, height, width)
        shape = fit_size(width, height, short_edge)
        calls = {name: partial(exhaust, decode) for name, decode in raw_decoders(path, *shape).items()}
        times = in_turn(setting, {"ours": partial(exhaust, partial(ours, path, short_edge)), **calls}, 5, 5)
        best = fastest_raw(times)
        case = f"{width}x{height} to {shape[0]}x{shape[1]}"
        against = f"raw {best}, 1 thread"
        yield compared(case, times, "ours", best, against=against, items=frames, item="frames")
    yield from growth_with_frames(setting)


def growth_with_frames(setting: Setting) -> Iterator[Row]:
    """A short and a long clip."""
    lengths, height, width = ((4, 8), 64, 96) if setting.quick else ((32, 192), 144, 256)
    clips = {n: clip(setting.scratch / f"{n}x{height}x{width}.mp4", n, height, width) for n in lengths}
    calls = {str(n): partial(exhaust, partial(ours, path, None)) for n, path in clips.items()}
    return growth(f"{{size}} frames of {width}x{height}", in_turn(setting, calls, 4, 5), "frames")


def exhaust(decode: Decode) -> int:
    """Decode everything; the number of frames."""
    return sum(1 for _ in decode())


def ours(path: Path, short_edge: int | None) -> Iterator[np.ndarray]:
    """Frames as the pipeline reads them."""
    return (frame.image for frame in read_frames(Source("clip", path), short_edge))


def raw_decoders(path: Path, width: int, height: int) -> dict[str, Decode]:
    """The decoders of this machine by name, each giving frames of the size wanted on one thread."""
    raw: dict[str, Decode] = {"PyAV": partial(raw_pyav, path, width, height)}
    return raw if decord is None else raw | {"decord": partial(raw_decord, path, width, height)}


def fastest_raw(times: Seconds) -> str:
    """The faster of the raw decoders in one measurement."""
    return min(times.keys() & {"PyAV", "decord"}, key=lambda name: np.median(times[name]))


def raw_decord(path: Path, width: int, height: int) -> Iterator[np.ndarray]:
    """decord alone."""
    reader = decord.VideoReader(str(path), width=width, height=height, num_threads=1)
    for _ in range(len(reader)):
        yield reader.next().asnumpy()


def raw_pyav(path: Path, width: int, height: int) -> Iterator[np.ndarray]:
    """PyAV alone, with decord's scaling."""
    scaler = VideoReformatter()
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR).to_ndarray()
