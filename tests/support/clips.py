"""Clips for the tests of decoding: each frame carries its own number, which survives lossy coding."""

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

STORED = {  # by EXIF orientation, how an upright picture lies in the file
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
BITS = 6  # frame numbers up to 63


def numbered_picture(number: int, width: int, height: int) -> np.ndarray:
    """uint8 RGB H,W,3: red above, blue below, and between them the number as black and white columns."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 3] = (200, 60, 40)
    image[-(height // 3) :] = (40, 60, 200)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[height // 3 : -(height // 3), left:right] = 230 if number >> bit & 1 else 20
    return image


def read_number(image: np.ndarray) -> int:
    """The number of a `numbered_picture`, which must be upright: red above, blue below."""
    height, width = image.shape[:2]
    top, bottom = image[height // 8, width // 2].astype(int), image[-height // 8, width // 2].astype(int)
    assert top[0] > top[2] + 60, "the top is not red"
    assert bottom[2] > bottom[0] + 60, "the bottom is not blue"
    row = image[height // 2].mean(axis=1)
    return sum(1 << bit for bit in range(BITS) if row[(2 * bit + 1) * width // (2 * BITS)] > 128)


def encode(
    path: Path,
    frames: int = 12,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 72),
    fps: int = 25,
    times_ms: Sequence[int] | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip of numbered pictures; `times_ms` gives uneven times, `rotation` stores them lying.

    `rotation` is in degrees clockwise that a player has to turn the stored pictures; `size` is as displayed.
    """
    base = Fraction(1, fps) if times_ms is None else Fraction(1, 1000)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stored = size if rotation % 180 == 0 else size[::-1]
        stream.width, stream.height = stored
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(-rotation)  # PyAV counts anticlockwise
        container.start_encoding()  # also without any frame
        for index in range(frames):
            lying = np.rot90(numbered_picture(index, *size), rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(lying), format="rgb24")
            frame.pts = index if times_ms is None else times_ms[index]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def encode_images(
    path: Path, images: Sequence[np.ndarray], fps: int = 25, pixels: str = "yuv444p", **options: str
) -> Path:
    """Images uint8 H,W,3 as an H.264 clip, of high quality where no `options` say another; its path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options or {"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixels
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def encode_sound(path: Path) -> Path:
    """Write a container with a second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        for start in range(0, 16000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cornered_picture(width: int, height: int) -> np.ndarray:
    """uint8 RGB H,W,3: grey, with corners red and green above, blue and white below."""
    image = np.full((height, width, 3), 90, np.uint8)
    rows, columns = height // 4, width // 4
    image[:rows, :columns], image[:rows, -columns:] = (230, 20, 20), (20, 230, 20)
    image[-rows:, :columns], image[-rows:, -columns:] = (20, 20, 230), (230, 230, 230)
    return image


def photo(path: Path, orientation: int, **options: int) -> Path:
    """A `cornered_picture` of 64x32, stored so that the EXIF orientation makes it upright; its path."""
    stored = Image.fromarray(cornered_picture(64, 32))
    if (turn := STORED[orientation]) is not None:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(path, exif=exif.tobytes(), **options)
    return path


def corners(image: np.ndarray) -> str:
    """The colours of a picture's corners in that order; RGBW of a `cornered_picture` that is upright."""
    rows, columns = image.shape[0] // 8, image.shape[1] // 8
    pixels = [image[row, column].astype(int) for row in (rows, -rows - 1) for column in (columns, -columns - 1)]
    return "".join("W" if pixel.min() > 150 else "RGB"[int(pixel.argmax())] for pixel in pixels)


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write the numbers that turn and mirror into the track header of an MP4 or MOV, in place."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # behind version, times, track, duration, layer and volume
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(content)
    return path


def with_blank_samples(path: Path, places: Collection[int], out: Path) -> Path:
    """A copy of a clip in which the samples at `places`, in the order of decoding, are zeros."""
    with av.open(str(path)) as clip, av.open(str(out), "w") as copy:
        stream = copy.add_stream_from_template(clip.streams.video[0])
        for index, packet in enumerate(packet for packet in clip.demux(video=0) if packet.size):
            other = av.Packet(bytes(packet.size)) if index in places else packet
            other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
            other.is_keyframe, other.stream = packet.is_keyframe, stream
            copy.mux(other)
    return out


def encode_sizes(path: Path, sizes: Sequence[tuple[int, int]], frames: int, codec: str = "libx264") -> Path:
    """Write a clip of `frames` numbered pictures at each of several sizes (width, height), one after the other."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, stream.pix_fmt
            encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
            for packet in _encoded(encoder, range(part * frames, (part + 1) * frames)):
                packet.stream = stream
                container.mux(packet)
    return path


def _encoded(encoder: av.VideoCodecContext, numbers: Iterable[int]) -> Iterator[av.Packet]:
    for number in numbers:
        picture = numbered_picture(number, encoder.width, encoder.height)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, encoder.time_base
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def write_flo(path: Path, flow: np.ndarray) -> Path:
    """Flow H,W,2 as Middlebury describes the format, by hand; its path."""
    height, width = flow.shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<fii", 202021.25, width, height) + flow.astype("<f4").tobytes())
    return path
