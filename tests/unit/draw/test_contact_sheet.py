"""Contact sheets: which frames are on them, where, and with which times."""

from pathlib import Path

import numpy as np
import pytest
from clips import encode, read_number

from amd.data.video.decode import Source, read_frames
from amd.draw.sheet import GAP, contact_sheet


def sheet_of(video: Path, count: int) -> np.ndarray:
    """The contact sheet of a video's frames."""
    return contact_sheet(((frame.image, frame.timestamp) for frame in read_frames(Source("clip", video), 160)), count)


def tiles(sheet: np.ndarray, rows: int, columns: int) -> list[np.ndarray]:
    """The pictures of a sheet, row by row."""
    height, width = ((size - GAP) // count - GAP for size, count in zip(sheet.shape[:2], (rows, columns), strict=True))
    corners = [
        (GAP + row * (height + GAP), GAP + column * (width + GAP)) for row in range(rows) for column in range(columns)
    ]
    return [sheet[top : top + height, left : left + width] for top, left in corners]


@pytest.mark.parametrize(
    ("frames", "rows", "columns", "shown"),
    [
        (1, 1, 1, [0]),
        (3, 1, 3, [0, 1, 2]),
        (12, 3, 4, list(range(12))),
        (45, 3, 4, [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44]),
    ],
)
def test_frames_are_evenly_over_the_whole_length(
    tmp_path: Path, frames: int, rows: int, columns: int, shown: list[int]
) -> None:
    video = encode(tmp_path / "clip.mp4", frames=frames, size=(256, 192))
    sheet = sheet_of(video, frames)
    assert sheet.dtype == np.uint8
    assert [read_number(tile) for tile in tiles(sheet, rows, columns)] == shown
    assert (sheet[:GAP] == 255).all()


def test_places_without_a_frame_stay_white(tmp_path: Path) -> None:
    sheet = sheet_of(encode(tmp_path / "clip.mp4", frames=5, size=(256, 192)), 5)
    whole = tiles(sheet, 2, 4)
    assert [read_number(tile) for tile in whole[:5]] == [0, 1, 2, 3, 4]
    assert all((tile == 255).all() for tile in whole[5:])


def test_tile_shows_its_time(tmp_path: Path) -> None:
    """Frames of the same number at other times differ, and only in the corner."""
    clips = [encode(tmp_path / f"{fps}.mp4", frames=1 + fps, size=(256, 192), fps=fps) for fps in (1, 10)]
    late, early = (tiles(sheet_of(clip, 2), 1, 2)[1] for clip in clips)
    differs = np.abs(late.astype(int) - early).max(axis=2) > 100
    ys, xs = np.nonzero(differs)
    assert len(ys) > 0
    assert ys.max() < 20
    assert xs.max() < 60
