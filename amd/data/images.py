"""Images, masks and label maps on disk. Input: untrusted files. Output: uint8 and bool arrays.

Pixels are taken as stored where nothing else is asked for: annotations are drawn on stored pixels, whatever an EXIF
orientation says. A user's photo is read upright. (TIFF and HEIC are always upright: their readers turn them.)
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pillow_heif
import simplejpeg
from PIL import ExifTags, Image

from amd.runtime.errors import UserError
from amd.runtime.files import write_bytes

Result = TypeVar("Result")

# What an EXIF orientation asks for; Pillow's rotations are anticlockwise.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = frozenset({5, 6, 7, 8})  # orientations that swap width and height
# Of a HEIC the picture alone is wanted, by one thread as of every other image.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
MAX_PIXELS = 89_478_485  # of one image: a quarter of a gigabyte as RGB, where Pillow suspects a bomb


def read_image(path: Path | str, upright: bool = False) -> np.ndarray:
    """Read an image as uint8 RGB H,W,3. Transparency is dropped; of an animation the first frame counts.

    `upright` turns and mirrors it as its EXIF orientation says. Raises UserError when the file is missing, damaged,
    larger than MAX_PIXELS or not 8 or 16 bits deep.
    """
    return _decode(path, lambda image: _rgb(_turned(image) if upright else image))


def read_mask(path: Path | str) -> np.ndarray:
    """Read a mask as bool H,W: a pixel is foreground where any colour, grey or palette value is nonzero.

    Raises UserError like `read_image`, and for more than 8 bits.
    """
    values: Any = _decode(path, _values)
    return values.any(axis=2) if values.ndim == 3 else values != 0


def read_pixels(path: Path | str) -> np.ndarray:
    """Read a colour-coded annotation as uint8 H,W,3: colours as shown, grey values three times.

    Raises UserError like `read_mask`.
    """
    return _decode(path, _shown)


def read_labels(path: Path | str) -> np.ndarray:
    """Read a label map as uint8 H,W: grey or palette values as stored; colours only where they are grey.

    Raises UserError like `read_mask`, and for coloured pixels, which have no one value.
    """
    values = _decode(path, _values)
    if values.ndim == 2:
        return values
    if (values != values[..., :1]).any():
        raise UserError(f"{path}: a colour picture where an 8-bit map of values is expected; save it as grey")
    return values[..., 0]


def read_deep(path: Path | str) -> np.ndarray:
    """Read what `write_deep` wrote of values from 0 to 1, as float32 H,W. UserError when it is no such picture."""

    def values(image: Image.Image) -> np.ndarray:
        if not image.mode.startswith("I;16"):
            raise ValueError(f"16-bit grey is expected, not Pillow's mode {image.mode}")
        return np.asarray(image, np.float32) / np.float32(np.iinfo(np.uint16).max)

    return _decode(path, values)


def decode_jpeg(content: bytes) -> np.ndarray:
    """A JPEG's bytes as uint8 RGB H,W,3; ValueError when they are none, or by their header more than MAX_PIXELS."""
    height, width, *_ = simplejpeg.decode_jpeg_header(content)
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels")
    return simplejpeg.decode_jpeg(content)


def image_size(path: Path | str, upright: bool = False) -> tuple[int, int]:
    """Height and width from the file's header, without decoding; UserError when it is not an image.

    `upright` gives them as `read_image` does.
    """

    def size(image: Image.Image) -> tuple[int, int]:
        lying = upright and _exif_orientation(image) in LYING
        return (image.width, image.height) if lying else (image.height, image.width)

    return _decode(path, size)


def write_mask(path: Path | str, mask: np.ndarray) -> None:
    """Write a bool mask H,W as an 8-bit PNG of 0 and 255, atomically."""
    if mask.dtype != bool:
        raise ValueError(f"a mask is bool, not {mask.dtype}")
    write_labels(path, mask * np.uint8(255))


def write_labels(path: Path | str, labels: np.ndarray, palette: bytes | None = None) -> None:
    """Write a uint8 label map H,W as an 8-bit PNG, atomically: grey, or in the colours of `palette` (RGB, from 0)."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"a label map is uint8 H,W, not {labels.dtype} of shape {labels.shape}")
    _write_png(path, labels, palette)


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write an image uint8 RGB H,W,3, or RGBA H,W,4, as a PNG, atomically."""
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(f"an image is uint8 H,W,3 or H,W,4, not {image.dtype} of shape {image.shape}")
    _write_png(path, image)


def write_deep(path: Path | str, values: np.ndarray) -> None:
    """Write uint16 H,W as a 16-bit grey PNG, atomically."""
    if values.dtype != np.uint16 or values.ndim != 2:
        raise ValueError(f"16-bit values are uint16 H,W, not {values.dtype} of shape {values.shape}")
    _write_png(path, values)


def _write_png(path: Path | str, pixels: np.ndarray, palette: bytes | None = None) -> None:
    write_bytes(path, encode_png(pixels, palette))


def encode_png(pixels: np.ndarray, palette: bytes | None = None) -> bytes:
    """The bytes of a PNG of pixels uint8 or uint16 H,W, or uint8 H,W,3 or H,W,4."""
    buffer, image = io.BytesIO(), Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _decode(path: Path | str, convert: Callable[[Image.Image], Result]) -> Result:
    """Open an image and convert it; whatever goes wrong becomes a UserError that names the file."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"{path}: {image.width}x{image.height} pixels is more than the {MAX_PIXELS} that are "
                    "read; make it smaller"
                )
            promised = image.size
            result = convert(image)
            if image.size != promised:  # a HEIC can be decoded to another size than its header has
                raise ValueError("{}x{} pixels, not {}x{} as its header says".format(*image.size, *promised))
            return result
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a readable image ({reason}); replace or remove it") from None


def _exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be followed, 1 to 8; 1 where there is none or it cannot be read."""
    if image.format == "TIFF":  # which Pillow turns when it decodes it
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata are no reason to refuse a picture
        return 1
    return value if value in TURNS else 1


def _turned(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation wants it to be shown."""
    turn = TURNS[_exif_orientation(image)]
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 bits a channel")
    return np.array(image.convert("RGB"))


def _shown(image: Image.Image) -> np.ndarray:
    """uint8 H,W,3 of an image of at most 8 bits a channel."""
    _values(image)  # refuses deeper ones
    return _rgb(image)


def _values(image: Image.Image) -> np.ndarray:
    """uint8 H,W of a grey, palette (indices) or 1-bit (0 and 255) image; H,W,3 of a colour one."""
    if image.mode in ("L", "P"):
        return np.array(image)
    if image.mode in ("1", "LA"):
        return np.array(image.convert("L"))
    if image.mode in ("RGB", "RGBA"):
        return np.array(image.convert("RGB"))
    raise ValueError(f"a mask has 8 bits, not Pillow's mode {image.mode}")
