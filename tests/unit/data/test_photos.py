"""Photos that a camera stored lying or mirrored, in every format that can say so: upright as a viewer shows them."""

from pathlib import Path

import pytest
from clips import STORED, corners, photo

from amd.data.images import image_size, read_image

TURNED_BY_THEIR_READERS = ("tif", "heic")  # also where pixels are wanted as stored


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "heic"])
def test_a_photo_is_upright_in_every_format(suffix: str, orientation: int, tmp_path: Path) -> None:
    path = photo(tmp_path / f"photo.{suffix}", orientation)
    shown = read_image(path, upright=True)
    assert (corners(shown), shown.shape[:2], image_size(path, upright=True)) == ("RGBW", (32, 64), (32, 64))
    lies = orientation > 4 and suffix not in TURNED_BY_THEIR_READERS
    assert read_image(path).shape[:2] == image_size(path) == ((64, 32) if lies else (32, 64))
