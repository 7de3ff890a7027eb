"""Decoding of what players show right and decoders alone do not: transport and program streams, display matrices,
samples that do not decode, a size that changes, animated pictures."""

from pathlib import Path

import numpy as np
import pytest
from clips import (
    cornered_picture,
    corners,
    encode,
    encode_images,
    encode_sizes,
    numbered_picture,
    read_number,
    set_display_matrix,
    with_blank_samples,
)
from PIL import Image

from amd.data.ingest.examine import Limits, examine
from amd.data.video.decode import DecodeError, Frame, Source, read_frames
from amd.data.video.flaws import Flaws
from amd.data.video.orientation import Orientation, from_matrix
from amd.data.video.probe import probe
from amd.data.video.sources import find_inputs, is_one_image

LIMITS = Limits(max_pixels=1_000_000, max_hours=1.0, min_change=1.0, max_change=40.0)
SEVERAL_GROUPS = {
    "closed": ("libx264", {"g": "8", "bf": "2"}),
    "open": ("libx264", {"g": "8", "bf": "3", "x264-params": "open-gop=1:b-pyramid=1"}),
    "hevc": ("libx265", {"x265-params": "keyint=8:bframes=3:open-gop=1:log-level=none"}),
    "mpeg2": ("mpeg2video", {"g": "8", "bf": "2"}),
    "mpeg4": ("mpeg4", {"g": "8", "bf": "2"}),
}
TURNS = {  # a b c d of the matrix, and the corners that are then seen
    "mirrored": ((-1, 0, 0, 1), "GRWB"),
    "upside down and mirrored": ((1, 0, 0, -1), "BWRG"),
    "transposed": ((0, 1, 1, 0), "RBGW"),
    "anti-transposed": ((0, -1, -1, 0), "WGBR"),
    "turned by 90": ((0, 1, -1, 0), "BRWG"),
    "turned by 180": ((-1, 0, 0, -1), "WBGR"),
    "turned by 270": ((0, -1, 1, 0), "GWRB"),
}


def read(path: Path, decoder: str | None = None) -> list[Frame]:
    return list(read_frames(Source("clip", path, decoder=decoder)))


def numbers(path: Path) -> list[int]:
    return [read_number(frame.image) for frame in read(path)]


@pytest.mark.parametrize("suffix", ["ts", "m2ts", "mpg", "mkv", "mp4", "mov", "avi", "flv"])
@pytest.mark.parametrize("coding", SEVERAL_GROUPS)
def test_several_groups_of_pictures(tmp_path, suffix, coding):
    codec, options = SEVERAL_GROUPS[coding]
    if (suffix == "flv" and codec != "libx264") or (suffix, codec) == ("avi", "libx265"):
        pytest.skip("no such codec in that container")
    path = encode(tmp_path / f"clip.{suffix}", frames=40, codec=codec, options=options)
    assert numbers(path) == list(range(40))
    row = examine(Source("clip", path), LIMITS)
    assert (row["status"], row["frames"], row["reason"]) == ("accepted", 40, "")
    assert row["decoder"] == ("decord" if suffix in ("mkv", "mp4", "mov", "avi") else "pyav")


@pytest.mark.parametrize(("name", "count"), [("g12.ts", 40), ("default_x264.ts", 300), ("m2_g12.mpg", 40)])
def test_streams_of_many_groups(cases, name, count):
    frames = read(cases / name)
    assert [marker_number(frame.image) for frame in frames] == [number % 250 for number in range(count)]
    assert [frame.timestamp for frame in frames] == pytest.approx(np.arange(count) / (frames[1].timestamp ** -1))


def marker_number(image: np.ndarray) -> int:
    """The barcode at the bottom of the cases' clips: eight columns between two corners."""
    height, width = image.shape[:2]
    corner = height // 8
    bar = (width - 4 * corner) // 8
    row = image[height - corner // 2 - 1].mean(axis=1)
    return sum(1 << bit for bit in range(8) if row[2 * corner + bit * bar + bar // 2] > 128)


@pytest.mark.parametrize("decoder", [None, "pyav"])
@pytest.mark.parametrize("turn", TURNS)
def test_display_matrix_is_applied_whole(tmp_path, turn, decoder):
    (a, b, c, d), seen = TURNS[turn]
    path = encode_images(tmp_path / "clip.mp4", [cornered_picture(128, 64)] * 3, pixels="yuv420p")
    set_display_matrix(path, a, b, c, d)
    frames = read(path, decoder)
    size = (128, 64) if a else (64, 128)
    assert [(frame.image.shape[1::-1], corners(frame.image)) for frame in frames] == [(size, seen)] * 3
    facts = probe(path)
    assert (facts.width, facts.height, facts.mirrored) == (*size, "turned" not in turn)


def test_a_matrix_that_shows_nothing_turns_nothing():
    assert from_matrix(bytes(36)) == from_matrix(b"short") == Orientation()


def test_a_bad_sample_costs_itself_alone(tmp_path):
    whole = encode(tmp_path / "whole.mp4", frames=40, options={"g": "10", "bf": "0"})
    path = with_blank_samples(whole, {17}, tmp_path / "clip.mp4")
    frames = read(path)
    kept = [*range(17), *range(18, 40)]
    assert [frame.index for frame in frames] == kept
    assert [frame.timestamp for frame in frames] == pytest.approx(np.array(kept) / 25)
    assert [read_number(frame.image) for frame in frames if frame.index < 17 or frame.index >= 20] == [
        index for index in kept if index < 17 or index >= 20
    ]
    assert sum(frame.lost for frame in frames) == frames[17].lost == 1
    row = examine(Source("clip", path), LIMITS)
    assert (row["status"], row["frames"], row["decoder"]) == ("accepted", 39, "pyav")
    assert row["reason"] == "1 of 40 frames lost near 0.6 s"


def test_bad_samples_in_several_places_and_at_the_end(tmp_path):
    whole = encode(tmp_path / "whole.mp4", frames=40, options={"g": "10", "bf": "2"})
    path = with_blank_samples(whole, {12, 13, 25, 37}, tmp_path / "clip.mkv")
    flaws, indices = Flaws(), []

    def see_all() -> None:
        for frame in read_frames(Source("clip", path)):
            flaws.see(frame)
            indices.append(frame.index)

    with pytest.raises(DecodeError) as caught:
        see_all()
    assert caught.value.good_frames == len(indices) == 36
    assert indices == sorted(set(indices))
    assert flaws.lost + len(indices) == indices[-1] + 1
    row = examine(Source("clip", path), LIMITS)
    assert row["status"] == "accepted"
    assert row["reason"].startswith("corrupt tail: 36 frames decode")
    assert f"{flaws.lost} of {36 + flaws.lost} frames lost in 2 places" in row["reason"]


@pytest.mark.parametrize(("name", "codec"), [("clip.ts", "libx264"), ("clip.avi", "mjpeg")])
def test_a_size_that_changes_is_fitted_into_the_first(tmp_path, name, codec):
    path = encode_sizes(tmp_path / name, [(128, 64), (64, 96)], 20, codec)
    frames = read(path, "pyav")
    assert [frame.image.shape for frame in frames] == [(64, 128, 3)] * 40
    assert [frame.refitted for frame in frames] == [False] * 20 + [True] * 20
    for frame in frames[20:]:
        bars, inner = np.delete(frame.image, range(42, 85), axis=1), frame.image[:, 42:85]  # 64 / 96 of 64 rows
        assert bars.max() < 8
        assert read_number(inner) == frame.index
    row = examine(Source("clip", path), LIMITS)
    assert (row["status"], row["frames"], row["decoder"]) == ("accepted", 40, "pyav")
    assert row["reason"].startswith("20 of 40 frames have another size than the first")


@pytest.mark.parametrize("name", ["clip.webp", "clip.png", "clip.avif"])
def test_animated_pictures_are_videos(tmp_path, name):
    pictures = [Image.fromarray(numbered_picture(number, 96, 72)) for number in range(9)]
    options = {} if name.endswith("png") else {"quality": 90}
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=50, **options)
    frames = read(tmp_path / name)
    assert [read_number(frame.image) for frame in frames] == list(range(9))
    assert [frame.timestamp for frame in frames] == pytest.approx(np.arange(9) / 20, abs=0.002)
    row = examine(Source("clip", tmp_path / name), LIMITS)
    assert (row["status"], row["frames"], row["width"], row["height"]) == ("accepted", 9, 96, 72)
    assert row["fps"] == pytest.approx(20, rel=0.05)


def test_a_heic_sequence_is_a_video(tmp_path):
    """As cameras write bursts: an MP4's boxes under another brand, its track of the kind `pict`."""
    content = encode(tmp_path / "clip.mp4", frames=9, codec="libx265").read_bytes()
    assert content[4:8] == b"ftyp"
    start = content.index(b"hdlr")
    path = tmp_path / "burst.heic"
    path.write_bytes(content[:8] + b"hevc" + content[12:start] + content[start:].replace(b"vide", b"pict", 1))
    (source,) = find_inputs(path)
    assert source.frame_names is None
    assert not is_one_image(path)
    assert [read_number(frame.image) for frame in read(path)] == list(range(9))
    row = examine(source, LIMITS)
    assert (row["status"], row["frames"], row["codec"]) == ("accepted", 9, "hevc")


def test_a_torn_animation_keeps_its_good_frames(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 72, 96, 3), dtype=np.uint8)
    first, *others = [Image.fromarray(picture) for picture in noise]
    path = tmp_path / "clip.webp"
    first.save(path, save_all=True, append_images=others, duration=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    row = examine(Source("clip", path), LIMITS)
    assert row["status"] == "rejected" or (row["frames"] < 6 and row["reason"])
