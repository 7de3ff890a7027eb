"""What an inbox refuses, and why: names, kinds of files, and what containers say and hold."""

import os
import socket
from pathlib import Path

import pytest
from clips import encode, encode_sound, with_blank_samples
from projects import REPOSITORY

from amd.config import Inbox, load_params
from amd.data.video.limits import refuse_video
from amd.data.video.rules import refuse_entry, refuse_name


def limits(**changes: object) -> Inbox:
    return load_params(REPOSITORY / "params.yaml").inbox.model_copy(update=changes)


@pytest.mark.parametrize(
    "name", ["clip.mp4", "Über uns (1).MOV", "-rf.mp4", "日本.webm", "a.b.mkv", "x" * 196 + ".mp4"]
)
def test_name_that_may_be(name: str) -> None:
    assert refuse_name(name) == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b.mp4", "separator"),
        ("..\\windows.mp4", "separator"),
        ("..mp4", r"'\.\.'"),
        ("a\nb.mp4", "control characters"),
        ("\x1b]0;title\x07.mp4", "control characters"),
        ("fdp\u202e4pm.mp4", "control characters"),  # shown from right to left
        (os.fsdecode(b"\xff.mp4"), "not UTF-8"),
        ("é" * 99 + ".mp4", "a name of 202 bytes"),
    ],
)
def test_name_that_may_not_be(name: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        assert not refuse_name(name)


def refused_entry(path: Path, **changes: object) -> str:
    return refuse_entry(path, limits(**changes))


def test_only_regular_files_with_one_name(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"bytes")
    assert refused_entry(video) == ""
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    (tmp_path / "near.mp4").symlink_to(video)
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    for name in ("link", "near", "dangling"):
        assert refused_entry(tmp_path / f"{name}.mp4").startswith("a symbolic link")
    (tmp_path / "folder.mp4").mkdir()
    assert refused_entry(tmp_path / "folder.mp4").startswith("a folder")
    os.mkfifo(tmp_path / "pipe.mp4")  # opened, it would wait for a writer for ever
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.mp4"))
        for name in ("pipe", "socket"):
            assert refused_entry(tmp_path / f"{name}.mp4").startswith("not a regular file")
    (tmp_path / "second.mp4").hardlink_to(video)
    assert "hard link" in refused_entry(tmp_path / "second.mp4")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_device(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "zero.mp4", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container lets nobody make devices")
    assert refused_entry(tmp_path / "zero.mp4").startswith("not a regular file")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.TGZ", "a.mp4.7z", "a.rar", "a.iso"])
def test_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    assert refused_entry(tmp_path / name).startswith("an archive")


@pytest.mark.parametrize("name", ["a.exe", "a", "mp4", "a.mp4.sh", "claim.json", "a.m3u8", "a.pkl", "a.pth"])
def test_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"bytes")
    assert refused_entry(tmp_path / name).startswith("not a video by its name")


def test_size(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.touch()
    assert refused_entry(path) == "an empty file"
    os.truncate(path, 1_000)
    assert refused_entry(path, max_bytes=1_000) == ""
    os.truncate(path, 1_001)
    assert refused_entry(path, max_bytes=1_000) == "1001 bytes; inbox.max_bytes is 1000"


def test_limits_are_of_what_is_shown(tmp_path: Path) -> None:
    video = encode(tmp_path / "clip.mp4", frames=12, size=(96, 72), fps=25)
    assert refuse_video(video, limits(max_pixels=96 * 72, max_frames=12, max_minutes=0.01)) == ""
    assert refuse_video(video, limits(max_pixels=96 * 72 - 1)) == "96x72 is 6912 pixels; max_pixels is 6911"
    assert refuse_video(video, limits(max_frames=11)) == "12 frames; max_frames is 11"
    slow = encode(tmp_path / "slow.mkv", frames=3, times_ms=[0, 1_000, 130_000])
    assert refuse_video(slow, limits(max_minutes=2.0)).endswith(" minutes; max_minutes is 2")
    assert refuse_video(slow, limits(max_minutes=2.5)) == ""


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts"])
def test_frames_that_the_container_does_not_promise_are_counted(tmp_path: Path, name: str) -> None:
    video = encode(tmp_path / name, frames=12)
    assert refuse_video(video, limits(max_frames=11)) == "12 frames; max_frames is 11"
    assert refuse_video(video, limits(max_frames=12)) == ""


def test_limits_come_before_decoding(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.mp4", frames=12)
    broken = with_blank_samples(whole, range(1, 12), tmp_path / "broken.mp4")  # of a good container
    assert refuse_video(broken, limits()) == ""  # no picture was looked at: whether it decodes is seen later
    assert refuse_video(broken, limits(max_frames=11)) == "12 frames; max_frames is 11"


def test_no_video(tmp_path: Path) -> None:
    sound, text = encode_sound(tmp_path / "sound.mp4"), tmp_path / "text.mp4"
    assert refuse_video(sound, limits()).startswith("no readable video stream")
    text.write_text("no video")
    assert refuse_video(text, limits()).startswith("not a readable video (")


def test_playlist_opens_no_other_file(tmp_path: Path) -> None:
    encode(tmp_path / "secret.ts")
    playlist = tmp_path / "clip.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n")
    assert refuse_video(playlist, limits()).startswith("not a readable video (")
