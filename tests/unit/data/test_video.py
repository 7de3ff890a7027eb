"""Decoding: real encoded clips whose frames carry their numbers, and the real odd videos."""

import gc
import os
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import encode, encode_sound, numbered_picture, read_number, with_blank_samples
from PIL import Image

from amd.data.video.decode import DecodeError, Source, fit_size, read_frames
from amd.data.video.probe import frame_times, probe, trimmed_frames

FORMATS = {
    "b_frames.mp4": ("libx264", {"bf": "3"}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none"}),
    "xvid.mp4": ("mpeg4", {"bf": "2"}),
    "xvid.avi": ("mpeg4", {"bf": "2"}),  # AVI has no presentation times
    "clip.mkv": ("libx264", {"bf": "3"}),
    "clip.mov": ("libx264", {}),
    "clip.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "clip.mpg": ("mpeg2video", {"bf": "2"}),
    "clip.gif": ("gif", {}),
    "clip.ts": ("libx264", {"bf": "2"}),
}


def source(path: Path, decoder: str | None = None) -> Source:
    return Source("clip", path, decoder=decoder)


def numbers(path: Path, short_edge: int | None = None, fps: float | None = None) -> list[int]:
    return [read_number(frame.image) for frame in read_frames(source(path), short_edge, fps)]


def failing_read(path: Path, pause: float = 0.0) -> tuple[int, DecodeError]:
    good = 0
    try:
        for _ in read_frames(source(path), 64):
            good += 1
            time.sleep(pause)
    except DecodeError as error:
        return good, error
    pytest.fail(f"{path} decodes to its end")


def without_packets(path: Path, dropped: set[int], out: Path) -> Path:
    """A copy of a clip that lacks some packets."""
    with av.open(str(path)) as clip, av.open(str(out), "w") as copy:
        stream = copy.add_stream_from_template(clip.streams.video[0])
        packets = (packet for packet in clip.demux(video=0) if packet.size)
        for index, packet in enumerate(packets):
            if index not in dropped:
                packet.stream = stream
                copy.mux(packet)
    return out


def trimmed_start(path: Path, frames: int, out: Path) -> Path:
    """A copy of a clip whose edit list hides the first frames, which stay in the file."""
    with (
        av.open(str(path)) as clip,
        av.open(str(out), "w", options={"avoid_negative_ts": "disabled"}) as copy,
    ):
        video = clip.streams.video[0]
        stream = copy.add_stream_from_template(video)
        shift = int(frames / video.average_rate / video.time_base)
        for packet in clip.demux(video):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                copy.mux(packet)
    return out


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_once_in_order(tmp_path, name):
    codec, options = FORMATS[name]
    path = encode(tmp_path / name, frames=20, codec=codec, options=options)
    frames = list(read_frames(source(path)))  # kept together: a reused buffer would show
    assert [read_number(frame.image) for frame in frames] == list(range(20))
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.timestamp for frame in frames] == pytest.approx(np.arange(20) / 25, abs=0.0011)
    assert all(frame.image.shape == (72, 96, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert {frame.decoder for frame in frames} == {"pyav" if name in ("clip.gif", "clip.ts", "clip.mpg") else "decord"}


@pytest.mark.parametrize("short_edge", [50, 37, 72, 500])
@pytest.mark.parametrize("rotation", [0, 90, 270])
def test_both_decoders_give_the_same_picture(tmp_path, short_edge, rotation):
    path = encode(tmp_path / "clip.mov", frames=3, size=(128, 72), rotation=rotation)
    decord = list(read_frames(source(path), short_edge))
    pyav = list(read_frames(source(path, "pyav"), short_edge))
    assert [frame.decoder for frame in decord + pyav] == ["decord"] * 3 + ["pyav"] * 3
    for one, other in zip(decord, pyav, strict=True):
        assert one.image.shape == other.image.shape
        assert one.timestamp == other.timestamp
        difference = np.abs(one.image.astype(int) - other.image).mean()
        assert difference < (1.0 if rotation == 0 else 4.0)  # turned before or after: other rounding


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_video_is_upright(tmp_path, rotation):
    path = encode(tmp_path / "clip.mov", rotation=rotation, size=(96, 72))
    facts = probe(path)
    assert (facts.width, facts.height, facts.rotation) == (96, 72, rotation)
    assert numbers(path) == list(range(12))
    assert [read_number(frame.image) for frame in read_frames(source(path, "pyav"), 48)] == list(range(12))


@pytest.mark.parametrize(
    ("size", "short_edge", "expected"),
    [
        ((1920, 1080), 128, (228, 128)),  # 227.6
        ((1080, 1920), 128, (128, 228)),
        ((640, 271), 100, (236, 100)),  # 236.2
        ((96, 72), 400, (96, 72)),
        ((96, 72), None, (96, 72)),
        ((5000, 2), 1, (2500, 1)),
    ],
)
def test_fit_size(size, short_edge, expected):
    assert fit_size(*size, short_edge) == expected


def picked(times: list[float], fps: float) -> list[int]:
    """The rule again, tick by tick in exact numbers: the first frame at or after each, each frame once."""
    chosen = set()
    for tick in range(int(times[-1] * fps) + 2):
        after = [index for index, at in enumerate(times) if at >= Fraction(tick) / Fraction(fps)]
        chosen |= set(after[:1])
    return sorted(chosen)


@pytest.mark.parametrize("fps", [4, 10, 16, 400])
@pytest.mark.parametrize("name", ["uneven.mkv", "uneven.mp4"])
def test_target_rate_on_uneven_times(tmp_path, name, fps):
    times = [0, 13, 57, 60, 198, 242, 281, 517, 903, 911, 923, 1009]  # none just before a tick
    path = encode(tmp_path / name, times_ms=times)
    frames = list(read_frames(source(path), fps=fps))
    expected = picked([Fraction(at, 1000) for at in times], fps)
    assert [frame.index for frame in frames] == expected
    assert [read_number(frame.image) for frame in frames] == expected
    assert [frame.timestamp for frame in frames] == pytest.approx([times[i] / 1000 for i in expected], abs=1e-4)


def test_native_rate_loses_nothing_to_rounded_times(tmp_path):
    path = encode(tmp_path / "clip.mkv", frames=60, fps=30)  # Matroska stores 0, 33, 67, 100 ms ...
    assert numbers(path, fps=30) == list(range(60))
    assert numbers(path, fps=15) == list(range(0, 60, 2))
    assert numbers(path, fps=1000) == list(range(60))


def test_hidden_frames_stay_hidden_and_nothing_is_repeated(tmp_path):
    whole = encode(tmp_path / "clip.mp4", frames=30, options={"bf": "2", "g": "30"})
    path = trimmed_start(whole, 5, tmp_path / "trimmed.mp4")
    assert numbers(path) == list(range(5, 30))  # decord alone repeats frame 29 five times
    assert trimmed_frames(path) == 5
    assert frame_times(path) == pytest.approx(np.arange(25) / 25)


def test_undecodable_start_is_not_padded_at_the_end(tmp_path):
    whole = encode(tmp_path / "clip.mp4", frames=40, options={"bf": "2", "g": "10"})
    path = without_packets(whole, {0}, tmp_path / "headless.mkv")
    assert numbers(path) == list(range(10, 40))


@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_corrupt_tail_gives_every_good_frame_at_any_pace(tmp_path, pause):
    whole = encode(tmp_path / "whole.mp4", frames=50, options={"g": "50", "bf": "0"})
    path = with_blank_samples(whole, range(28, 50), tmp_path / "corrupted.mp4")
    good, error = failing_read(path, pause)
    assert good == error.good_frames == 28  # decord alone loses most of them when read slowly
    assert "corrupted.mp4" in str(error)
    assert "28" in str(error)


@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_damage_between_good_frames_costs_itself_at_any_pace(shared_data, pause):
    """decord gives up at the bad sample, and gives fewer of the frames before it when it is read slowly."""
    frames = []
    for frame in read_frames(source(shared_data / "odd_videos" / "corrupted.mp4"), 64):
        frames.append(frame)
        time.sleep(pause)
    assert [frame.index for frame in frames] == [*range(30), *range(31, 50)]
    assert frames[30].lost == sum(frame.lost for frame in frames) == 1


def test_truncated_video_ends_with_its_good_frames(tmp_path):
    path = encode(tmp_path / "clip.mkv", frames=60, options={"g": "10"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = numbers(path)
    assert 20 < len(found) < 60
    assert found == list(range(len(found)))


def test_rejects_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    headless = encode(tmp_path / "headless.mp4")
    headless.write_bytes(headless.read_bytes()[:-600])  # the index stands at the end
    encode_sound(tmp_path / "sound.mp4")
    for name in ("text.mp4", "empty.mp4", "headless.mp4", "sound.mp4", "absent.mp4"):
        good, error = failing_read(tmp_path / name)
        assert good == error.good_frames == 0
        assert name in str(error)
        assert "\n" not in str(error)
    assert not probe(tmp_path / "sound.mp4").has_video


def test_playlist_in_disguise_opens_nothing(tmp_path):
    encode(tmp_path / "secret.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    assert failing_read(tmp_path / "list.mp4")[0] == 0


def test_large_frames_are_not_decoded_ahead(tmp_path):
    path = encode(tmp_path / "clip.mp4", frames=2, size=(1280, 720))
    assert [frame.decoder for frame in read_frames(source(path))] == ["pyav"] * 2
    assert [frame.decoder for frame in read_frames(source(path), 90)] == ["decord"] * 2


def test_a_header_that_promises_too_many_frames_takes_no_memory(tmp_path):
    """decord, in C++, would end the process where it gets no memory for as many."""
    path = encode(tmp_path / "clip.mp4", frames=6)
    content = bytearray(path.read_bytes())
    start = content.index(b"stts") + 12  # behind version and number of entries: how many frames the first is for
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert probe(path).frames_promised > 2**31
    frames = list(read_frames(source(path)))
    assert [(read_number(frame.image), frame.decoder) for frame in frames] == [(number, "pyav") for number in range(6)]


def test_frames_go_without_the_garbage_collector(tmp_path):
    path = encode(tmp_path / "clip.mp4", frames=20, rotation=90)
    gc.collect()
    gc.disable()
    try:
        for _ in read_frames(source(path, "pyav")):
            assert sum(type(thing) is av.VideoFrame for thing in gc.get_objects()) < 5
    finally:
        gc.enable()


def test_stops_early(tmp_path):
    path = encode(tmp_path / "clip.mp4", frames=30)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for decoder in (None, "pyav"):
        frames = read_frames(source(path, decoder))
        assert read_number(next(frames).image) == 0
        frames.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_several_video_streams_and_real_formats(shared_data):
    odd = shared_data / "odd_videos"
    nasa = list(read_frames(source(odd / "nasa_13013.mp4"), 64))
    assert len(nasa) == 390  # of the larger second stream, not the 325 of the first
    assert nasa[0].image.shape == (64, 114, 3)
    assert {frame.decoder for frame in read_frames(source(odd / "av1_video.mkv"), 64)} == {"pyav"}
    times = [frame.timestamp for frame in read_frames(source(odd / "test.avi"), 64)]
    assert times == pytest.approx(np.arange(164) / 25, abs=1e-6)


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(4):
        Image.fromarray(numbered_picture(number, 96, 72)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_frame_folder_in_the_given_order(folder):
    given = Source("folder", folder, ("2.png", "0.png", "3.png"))
    frames = list(read_frames(given, 36, fps=10))
    assert [read_number(frame.image) for frame in frames] == [2, 0, 3]
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.2])
    assert {frame.image.shape for frame in frames} == {(36, 48, 3)}
    assert {frame.decoder for frame in frames} == {"images"}


def test_frame_folder_errors_name_the_image(folder):
    Image.fromarray(numbered_picture(0, 48, 36)).save(folder / "small.png")
    (folder / "torn.png").write_bytes((folder / "1.png").read_bytes()[:150])
    os.mkfifo(folder / "pipe.png")
    for bad in ("small.png", "torn.png", "pipe.png", "absent.png"):
        frames = read_frames(Source("folder", folder, ("0.png", "1.png", bad)))
        assert [next(frames).index, next(frames).index] == [0, 1]
        with pytest.raises(DecodeError, match=bad) as caught:
            next(frames)
        assert caught.value.good_frames == 2


@pytest.mark.parametrize("width", [16, 24, 48, 72])
def test_small_widths_have_three_channels(tmp_path, width):
    """decord gives four or six channels at some of them."""
    path = encode(tmp_path / "clip.mp4", frames=3, size=(256, 256))
    frames = list(read_frames(Source("clip", path), short_edge=width))
    assert [frame.image.shape for frame in frames] == [(width, width, 3)] * 3
