"""Ingest's comparison of decoders: decord's frames are believed where PyAV gives the same, and nowhere else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from clips import encode, numbered_picture, with_blank_samples

from amd.data.ingest.decoder_check import Sample, agrees
from amd.data.ingest.examine import Limits, examine
from amd.data.video import decode
from amd.data.video.decode import DecodeError, Source, read_frames

LIMITS = Limits(max_pixels=1_000_000, max_hours=1.0, min_change=1.0, max_change=40.0)
GROUPS = {"g": "8", "bf": "2"}
FRAMES = 40


def sample(pictures: Sequence[np.ndarray], numbers: list[int]) -> Sample:
    """What is kept of a video that shows `pictures` in the order of `numbers`."""
    kept = Sample(FRAMES)
    for index, number in enumerate(numbers):
        kept.see(index, pictures[number])
    return kept


def swapped(numbers: list[int], place: int) -> list[int]:
    return [*numbers[:place], numbers[place + 1], numbers[place], *numbers[place + 2 :]]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.avi", "mpeg4")]
)
def test_right_frames_agree_and_no_others(name: str, codec: str, tmp_path: Path) -> None:
    path = encode(tmp_path / name, frames=FRAMES, codec=codec, options=GROUPS)
    pictures = [frame.image for frame in read_frames(Source("clip", path, decoder="pyav"))]
    right = list(range(FRAMES))
    assert agrees(path, sample(pictures, right))
    wrong: dict[str, list[int]] = {
        "one place on": [*right[1:], 0],
        "one place back": [0, *right[:-1]],
        "without the first group": right[8:],
        "one too few": right[:-1],
        "one too many": [*right, 0],
        **{f"swapped at {place}": swapped(right, place) for place in (1, FRAMES // 2, FRAMES - 2)},
    }
    assert [what for what, numbers in wrong.items() if agrees(path, sample(pictures, numbers))] == []


def test_where_pyav_loses_a_frame_that_decord_gave_they_differ(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.avi", frames=FRAMES, codec="mpeg4", options=GROUPS)
    path = with_blank_samples(whole, {3}, tmp_path / "clip.avi")
    assert len(list(read_frames(Source("clip", path, decoder="pyav")))) < FRAMES
    pictures = [numbered_picture(number, 96, 72) for number in range(FRAMES)]
    assert not agrees(path, sample(pictures, list(range(FRAMES))))


def test_a_video_that_decord_misreads_is_read_by_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if MPEG-TS, of which decord loses the first group, were taken for a container that it reads right."""
    monkeypatch.setattr(decode, "DECORD_CONTAINERS", {*decode.DECORD_CONTAINERS, "mpegts"})
    path = encode(tmp_path / "clip.ts", frames=FRAMES, options=GROUPS)
    with pytest.raises(DecodeError, match="PyAV alone is to be trusted"):
        list(read_frames(Source("clip", path)))
    row = examine(Source("clip", path), LIMITS)
    assert (row["status"], row["decoder"], row["frames"]) == ("accepted", "pyav", FRAMES)
