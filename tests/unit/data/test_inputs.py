"""Finding inputs: folders, split files, ids, and names that nobody should trust."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image
from privileges import permission_bits_bind

from amd.data.images import read_image
from amd.data.video.sources import find_inputs, video_id
from amd.runtime.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ids(path: Path) -> dict[str, str]:
    return {str(source.path.relative_to(path)): source.video_id for source in find_inputs(path)}


def test_folder_is_searched_in_natural_order(tmp_path):
    touch(tmp_path, "b10.mp4", "b2.MKV", "notes.md", ".hidden.mp4", "deep/er/x.webm", "deep/er/x.gif")
    touch(tmp_path, "clip/frame10.jpg", "clip/frame9.jpg", "clip/frame100.JPG", "clip/labels.json")
    found = find_inputs(tmp_path)
    assert [str(source.path.relative_to(tmp_path)) for source in found] == [
        "b2.MKV",
        "b10.mp4",
        "clip",
        "deep/er/x.gif",
        "deep/er/x.webm",
    ]
    assert found[2].frame_names == ("frame9.jpg", "frame10.jpg", "frame100.JPG")
    assert all(source.frame_names is None for source in found if source.path.name != "clip")
    assert not any(source.problem for source in found)


def test_frame_folder_itself_and_a_single_file(tmp_path):
    touch(tmp_path, "clip/1.png", "clip/2.png", "film.mp4")
    (folder,) = find_inputs(tmp_path / "clip")
    assert (folder.path, folder.frame_names) == (tmp_path / "clip", ("1.png", "2.png"))
    assert folder.video_id.startswith("clip-")
    (film,) = find_inputs(tmp_path / "film.mp4")
    assert (film.path, film.frame_names) == (tmp_path / "film.mp4", None)


def test_ids_are_clean_distinct_and_stable(tmp_path):
    names = ["a b.mp4", "a_b.mp4", "a-b.mp4", "a.b.mp4", "a_b.mkv", "Überfahrt ñ.mp4", "видео.mp4", "動画.mp4"]
    names += ["x" * 120 + "1.mp4", "x" * 120 + "2.mp4", "sub/a_b.mp4", "'; rm -rf \n.mp4"]
    touch(tmp_path, *names)
    before = ids(tmp_path)
    assert sorted(before) == sorted(names)
    assert len(set(before.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", video_id) for video_id in before.values())
    assert before["Überfahrt ñ.mp4"].startswith("Uberfahrt_n_mp4-")
    assert before["動画.mp4"].startswith("mp4-")
    touch(tmp_path, "0.mp4", "a_b_.mp4", "sub/0.mp4")
    after = ids(tmp_path)
    assert {name: after[name] for name in names} == before


def test_id_does_not_change_between_versions():
    assert video_id("sub/a b.mp4") == "sub_a_b_mp4-4915a7ea"  # sha256sum of the name and a line end


def test_symbolic_links_that_loop_end_and_are_reported(tmp_path):
    touch(tmp_path, "real/clip.mp4")
    (tmp_path / "real/back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    (tmp_path / "zz_again").symlink_to(tmp_path / "real", target_is_directory=True)
    found = {str(source.path.relative_to(tmp_path)): source.problem for source in find_inputs(tmp_path)}
    assert set(found) == {"real/clip.mp4", "real/back", "self.mp4", "zz_again"}
    assert found["real/clip.mp4"] == ""
    assert "leads back" in found["real/back"]
    assert "read already" in found["zz_again"]
    assert found["self.mp4"]


def test_linked_folder_from_elsewhere_is_read(tmp_path):
    touch(tmp_path, "elsewhere/clip.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (source,) = find_inputs(tmp_path / "videos")
    assert (source.path.name, source.problem) == ("clip.mp4", "")


def test_odd_files_are_reported(tmp_path):
    touch(tmp_path, "good.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.mp4", os.O_CREAT))
    found = {source.path.name: source.problem for source in find_inputs(tmp_path)}
    assert found.pop("good.mp4") == ""
    assert "nothing" in found.pop("gone.mp4")
    assert "regular" in found.pop("pipe.mp4")
    assert ["UTF-8" in problem for problem in found.values()] == [True]


def test_unreadable_folder_is_reported_and_the_rest_is_found(tmp_path):
    touch(tmp_path, "locked/a.mp4", "open.mp4")
    (tmp_path / "locked").chmod(0o000)
    with permission_bits_bind():
        found = {source.path.name: source.problem for source in find_inputs(tmp_path)}
    (tmp_path / "locked").chmod(0o755)
    assert found["open.mp4"] == ""
    assert "not readable" in found["locked"]


def test_nothing_to_find_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        find_inputs(tmp_path / "absent")
    touch(tmp_path, "notes.md")
    with pytest.raises(UserError, match="no video"):
        find_inputs(tmp_path)


def test_split_file(tmp_path):
    touch(tmp_path, "clips/dog/b.jpg", "clips/dog/a.jpg", "my clips/cat one/1.png", "my clips/cat one/2.png")
    touch(tmp_path, "my film.mp4", "elsewhere/3.png")
    lines = [
        "clips/dog b.jpg a.jpg",  # the order is the file's
        "",
        "my clips/cat one\t1.png  2.png",
        "my film.mp4",
        "my clips/cat one",
        f"{tmp_path}/elsewhere 3.png",
    ]
    split = tmp_path / "split.txt"
    split.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found = find_inputs(split)
    assert [(str(source.path.relative_to(tmp_path)), source.frame_names) for source in found] == [
        ("clips/dog", ("b.jpg", "a.jpg")),
        ("my clips/cat one", ("1.png", "2.png")),
        ("my film.mp4", None),
        ("my clips/cat one", ("1.png", "2.png")),
        ("elsewhere", ("3.png",)),
    ]
    assert not any(source.problem for source in found)
    assert len({source.video_id for source in found}) == len(found)
    assert found[0].video_id.startswith("clips_dog-")


@pytest.mark.parametrize("name", ["../secret.png", "..", ".", "sub/1.png", "/etc/passwd", "..\\secret.png"])
def test_split_file_names_are_not_trusted(tmp_path, name):
    touch(tmp_path, "clip/1.png", "secret.png")
    (tmp_path / "split.txt").write_text(f"clip 1.png {name}\nclip 1.png\n")
    bad, good = find_inputs(tmp_path / "split.txt")
    assert "line 1" in bad.problem
    assert repr(name) in bad.problem
    assert bad.frame_names == ()
    assert (good.problem, good.frame_names) == ("", ("1.png",))


def test_split_file_reports_its_bad_lines(tmp_path):
    touch(tmp_path, "clip/1.png", "empty/notes.md")
    long_line = "absent " + " ".join(f"{number:05}.jpg" for number in range(2000))
    (tmp_path / "split.txt").write_text("\n".join([long_line, "empty", "nul\0byte", "clip 1.png", "clip 1.png"]))
    found = find_inputs(tmp_path / "split.txt")
    assert ["line 1" in found[0].problem, "line 2" in found[1].problem, "line 3" in found[2].problem] == [True] * 3
    assert [source.problem for source in found[3:]] == ["", ""]
    assert len({source.video_id for source in found}) == 5  # the same line twice too
    (tmp_path / "split.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        find_inputs(tmp_path / "split.txt")


def test_what_is_left_out_is_counted_and_named(tmp_path, capsys):
    touch(tmp_path, "clip.mp4", "a.psd", "b.CR2", "deep/c.docx", "d.xyz", "e.xyz", "f.xyz", "g.xyz", ".hidden.xyz")
    notes = []
    assert [source.path.name for source in find_inputs(tmp_path, notes.append)] == ["clip.mp4"]
    assert notes == [
        f"{tmp_path}: left out 7 files of other formats: a.psd, b.CR2, d.xyz, deep/c.docx, e.xyz and 2 more"
    ]
    find_inputs(tmp_path)
    assert capsys.readouterr().err == notes[0] + "\n"


def test_notes_play_no_tricks_on_a_terminal(tmp_path, capsys):
    touch(tmp_path, "clip.mp4", "bad\x1b[31m\nname.xyz")
    find_inputs(tmp_path)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["a.wmv", "b.3gp", "c.flv", "d.ogv", "e.m2ts", "f.mpeg", "g.mxf", "h.ASF", "i.vob", "j.mts"]
)
def test_videos_of_less_usual_suffixes_are_sources(tmp_path, name):
    touch(tmp_path, name)
    (source,) = find_inputs(tmp_path)
    assert (source.path.name, source.frame_names) == (name, None)


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "jp2", "avif", "heic", "HIF", "jfif", "tga", "pbm"])
def test_images_of_less_usual_suffixes_are_frames_and_can_be_read(tmp_path, suffix):
    picture = Image.new("1" if suffix == "pbm" else "RGB", (16, 8), "white")
    picture.save(tmp_path / f"a.{suffix}")
    (source,) = find_inputs(tmp_path)
    assert source.frame_names == (f"a.{suffix}",)
    assert read_image(tmp_path / f"a.{suffix}").shape == (8, 16, 3)


@pytest.mark.parametrize("suffix", ["png", "webp", "avif"])
def test_an_animated_picture_is_a_video_beside_frames(tmp_path, suffix):
    still, other = Image.new("RGB", (16, 8), "white"), Image.new("RGB", (16, 8), "black")
    still.save(tmp_path / f"still.{suffix}")
    still.save(tmp_path / f"moving.{suffix}", save_all=True, append_images=[other, still])
    folder, clip = find_inputs(tmp_path)
    assert folder.frame_names == (f"still.{suffix}",)
    assert (clip.path.name, clip.frame_names) == (f"moving.{suffix}", None)
    (tmp_path / "list.txt").write_text(".\n")
    (whole,) = find_inputs(tmp_path / "list.txt")
    assert whole.frame_names == (f"still.{suffix}",)


def test_folders_that_amd_segment_made_are_left_out(tmp_path):
    touch(tmp_path, "clip.mp4", "out/clip-1/masks/000000.png", "out/clip-1/overlay.mp4", "mine/masks/000000.png")
    (tmp_path / "out/clip-1/receipt.json").write_text('{"key": {"path": "/clip.mp4"}, "row": null}')
    (tmp_path / "mine/receipt.json").write_text('{"bought": "bread"}')
    notes = []
    found = find_inputs(tmp_path, notes.append)
    assert [source.path for source in found] == [tmp_path / "clip.mp4", tmp_path / "mine/masks"]
    assert notes[0] == f"{tmp_path}: left out 1 folder made by amd segment: out/clip-1"


def test_a_receipt_that_is_no_file_or_too_deep_stops_nothing(tmp_path):
    touch(tmp_path, "a/clip.mp4", "b/clip.mp4")
    os.mkfifo(tmp_path / "a/receipt.json")
    (tmp_path / "b/receipt.json").write_text("[" * 100_000)
    assert len(find_inputs(tmp_path)) == 2
