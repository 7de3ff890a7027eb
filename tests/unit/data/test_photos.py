"""Photos that a camera stored lying or mirrored, in every format that can say so: upright as a viewer shows them."""

from pathlib import Path

import pytest
from clips import cornered_picture, corners
from PIL import Image

from amd.data.images import image_size, read_image

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
TURNED_BY_THEIR_READERS = ("tif", "heic")  # also where pixels are wanted as stored


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "heic"])
def test_a_photo_is_upright_in_every_format(suffix: str, orientation: int, tmp_path: Path) -> None:
    turn = STORED[orientation]
    stored = Image.fromarray(cornered_picture(64, 32))
    stored = stored if turn is None else stored.transpose(turn)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"photo.{suffix}"
    stored.save(path, exif=exif.tobytes())
    shown = read_image(path, upright=True)
    assert (corners(shown), shown.shape[:2], image_size(path, upright=True)) == ("RGBW", (32, 64), (32, 64))
    as_stored = stored.size[::-1] if suffix not in TURNED_BY_THEIR_READERS else (32, 64)
    assert read_image(path).shape[:2] == image_size(path) == as_stored
