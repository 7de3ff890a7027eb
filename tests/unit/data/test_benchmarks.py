"""The DAVIS 2016 reader on layouts as downloaded, and images and masks of every kind that turns up."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from layouts import write_davis
from PIL import Image

from amd.data import images
from amd.data.benchmarks.davis import davis2016, open_benchmark
from amd.data.images import image_size, read_image, read_labels, read_mask, write_labels, write_mask
from amd.runtime.errors import UserError


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two sequences of four frames, without a list."""
    root = tmp_path / "DAVIS"
    colours = [np.full((8, 12, 3), (number * 50, 90, 10), np.uint8) for number in range(4)]
    for name in ("bear", "dog-agility"):
        write_davis(root, name, ((image, np.eye(8, 12, dtype=bool)) for image in colours))
    return root


def write_list(root: Path, content: str, name: str = "ImageSets/480p/val.txt") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def download_lines(name: str) -> str:
    lines = [f"/JPEGImages/480p/{name}/{i:05d}.jpg /Annotations/480p/{name}/{i:05d}.png " for i in range(4)]
    return "\n".join(lines) + "\n"


def message_of(root: Path) -> str:
    with pytest.raises(UserError) as error:
        davis2016(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_folder_without_a_list(davis: Path):
    (davis / "JPEGImages/480p/.DS_Store").touch()
    (davis / "JPEGImages/480p/bear/Thumbs.db").touch()
    bear, dog = open_benchmark("davis2016", davis)
    assert (bear.name, dog.name, dog.dataset) == ("bear", "dog-agility", "davis2016")
    assert [frame.name for frame in bear.frames] == ["00000", "00001", "00002", "00003"]
    assert bear.frames[2].image == davis / "JPEGImages/480p/bear/00002.jpg"
    assert bear.frames[2].truth == davis / "Annotations/480p/bear/00002.png"
    assert [frame.name for frame in bear.scored_frames] == ["00001", "00002"]


def test_one_sequence_alone_needs_no_other(davis: Path):
    """A program a video reads its own folders, or n videos would read n times n."""
    (davis / "Annotations/480p/dog-agility/00002.png").unlink()
    with pytest.raises(UserError, match="dog-agility"):
        open_benchmark("davis2016", davis)
    (bear,) = open_benchmark("davis2016", davis, only="bear")
    assert (bear.name, len(bear.frames)) == ("bear", 4)
    assert open_benchmark("davis2016", davis, only="cow") == []


def test_lists_say_which_and_in_what_order(davis: Path):
    write_list(davis, "dog-agility\n\nbear\n", "ImageSets/sequences.txt")
    assert [sequence.name for sequence in davis2016(davis)] == ["dog-agility", "bear"]
    write_list(davis, download_lines("dog-agility"))  # the download's list comes first
    (sequence,) = davis2016(davis)
    assert sequence.name == "dog-agility"
    assert len(sequence.frames) == 4


def test_missing_root(tmp_path: Path):
    assert message_of(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'}: no such folder")


@pytest.mark.parametrize("given", ["..", "JPEGImages", "JPEGImages/480p", "JPEGImages/480p/bear", "ImageSets"])
def test_a_folder_too_high_or_low_names_the_right_one(davis: Path, given: str):
    write_list(davis, "bear\n")
    assert f"did you mean {davis}?" in message_of((davis / given).resolve())


BEAR, TRUTH = "JPEGImages/480p/bear", "Annotations/480p/bear"


def without_frames(root: Path) -> None:
    for path in (root / BEAR).iterdir():
        path.rename(path.with_suffix(".txt"))


def without_sequences(root: Path) -> None:
    shutil.rmtree(root / "JPEGImages/480p")
    (root / "JPEGImages/480p").mkdir()


def with_a_loop(root: Path) -> None:
    shutil.rmtree(root / BEAR)
    (root / BEAR).symlink_to("bear")
    write_list(root, "bear\n")


def with_bytes_for_a_list(root: Path) -> None:
    write_list(root, "")
    (root / "ImageSets/480p/val.txt").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda root: (root / "Annotations/480p").rename(root / "Annotations/1080p"),
            r"^ROOT: not DAVIS 2016, Annotations/480p is missing",
        ),
        (without_sequences, "no sequence in it"),
        (
            lambda root: write_list(root, download_lines("bear") + download_lines("camel")),
            "^ROOT/JPEGImages/480p/camel: the sequence's folder is missing",
        ),
        (lambda root: shutil.rmtree(root / TRUTH), f"^ROOT/{TRUTH}: the sequence's folder is missing"),
        (lambda root: write_list(root, "x" * 300), r"x: cannot be opened \(File name too long\); check its name and"),
        (lambda root: write_list(root, "\n"), "lists no sequence"),
        (with_bytes_for_a_list, "not a readable list"),
        (
            lambda root: shutil.copy(root / BEAR / "00003.jpg", root / BEAR / "00004.jpg"),
            f"^ROOT/{BEAR}/00004.jpg: a frame without annotation; ROOT/{TRUTH}/00004.png",
        ),
        (lambda root: (root / BEAR / "00001.jpg").unlink(), f"^ROOT/{TRUTH}/00001.png: an annotation without"),
        (
            lambda root: shutil.copy(root / TRUTH / "00001.png", root / BEAR),
            "00001.png: the same frame as 00001.jpg",
        ),
        (without_frames, f"^ROOT/{BEAR}: no .jpeg or .jpg or .png file"),
        (with_a_loop, f"{BEAR}: the sequence's folder is missing"),
    ],
)
def test_what_is_wrong_with_a_copy_is_named(davis: Path, harm: Callable[[Path], object], message: str):
    harm(davis)
    assert re.search(message.replace("ROOT", re.escape(str(davis))), message_of(davis))


@pytest.mark.parametrize(
    "line",
    [
        "../../etc",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "a\x00b",
        "/JPEGImages/480p/../00000.jpg /Annotations/480p/../00000.png",
        "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/dog-agility/00000.png",
        "/JPEGImages/480p/bear/../../x.jpg /Annotations/480p/bear/x.png",
    ],
)
def test_list_files_are_not_trusted(davis: Path, line: str):
    write_list(davis, f"bear\n{line}\n")
    assert message_of(davis).startswith(f"{davis / 'ImageSets/480p/val.txt'}: line 2 is ")


# Images and masks


def test_masks_of_every_mode_agree(tmp_path: Path):
    mask = np.eye(5, 7, dtype=bool)
    grey = Image.fromarray(mask * np.uint8(255))
    palette = Image.fromarray(mask.astype(np.uint8))  # index 1, as DAVIS 2017 has it
    palette.putpalette([0, 0, 0, 128, 0, 0])
    coloured = Image.fromarray(np.stack([mask * np.uint8(0), mask * np.uint8(0), mask * np.uint8(9)], axis=2))
    for name, image in {
        "L": grey,
        "1": grey.convert("1"),
        "RGB": grey.convert("RGB"),
        "RGBA": grey.convert("RGBA"),
        "LA": grey.convert("LA"),
        "P": palette,
        "blue": coloured,
    }.items():
        image.save(tmp_path / f"{name}.png")
        assert (read_mask(tmp_path / f"{name}.png") == mask).all(), name


def test_labels_are_values_as_stored(tmp_path: Path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = Image.fromarray(labels)
    palette.putpalette(list(range(200, 236)))
    palette.save(tmp_path / "p.png")
    Image.fromarray(labels).convert("RGB").save(tmp_path / "rgb.png")
    write_labels(tmp_path / "l.png", labels)
    for name in ("p", "rgb", "l"):
        assert (read_labels(tmp_path / f"{name}.png") == labels).all()
    Image.new("RGB", (4, 3), (1, 2, 1)).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match=r"colour\.png: a colour picture"):
        read_labels(tmp_path / "colour.png")


def test_written_masks_are_8_bit_png_of_0_and_255(tmp_path: Path):
    mask = np.eye(6, 9, dtype=bool)
    write_mask(tmp_path / "new/folder/0.png", mask)
    with Image.open(tmp_path / "new/folder/0.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (9, 6))
        assert (np.asarray(image) == np.where(mask, 255, 0)).all()
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["0.png"]  # nothing half-written


def test_only_masks_and_label_maps_are_written(tmp_path: Path):
    with pytest.raises(ValueError, match="a mask is bool"):
        write_mask(tmp_path / "0.png", np.zeros((3, 3)))
    with pytest.raises(ValueError, match="a label map is uint8"):
        write_labels(tmp_path / "0.png", np.zeros((3, 3), np.int64))
    assert not list(tmp_path.iterdir())


def test_images_become_rgb_as_stored(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees", which annotations do not follow
    Image.fromarray(pixels).save(tmp_path / "rgb.png", exif=exif)
    assert (read_image(tmp_path / "rgb.png") == pixels).all()
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "rgba.png")
    assert (read_image(tmp_path / "rgba.png") == pixels).all()
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == pixels[..., :1]).all()
    deep = pixels[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == pixels[..., :1]).all()
    with pytest.raises(UserError, match="a mask has 8 bits"):
        read_mask(tmp_path / "deep.png")


def test_images_that_do_not_decode_are_named(tmp_path: Path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for name in ("cut.jpg", "cut.png"):
        noise.save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-2000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.zeros((3, 3), np.float32)).save(tmp_path / "float.tif")
    for name in ("cut.jpg", "cut.png", "empty.png", "text.jpg", "folder.png", "float.tif"):
        path = re.escape(str(tmp_path / name))
        with pytest.raises(UserError, match=f"^{path}: not a readable image"):
            read_image(tmp_path / name)
        with pytest.raises(UserError, match=f"^{path}: not a readable image"):
            read_mask(tmp_path / name)
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        image_size(tmp_path / "none.png")


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("1", (16000, 12000)).save(tmp_path / "bomb.png")  # Pillow's own limit
    with pytest.raises(UserError, match=r"bomb\.png: not a readable image \(Image size"):
        read_mask(tmp_path / "bomb.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)  # ours
    Image.new("L", (11, 10)).save(tmp_path / "large.png")
    with pytest.raises(UserError, match=r"large\.png: 11x10 pixels is more than the 100"):
        read_image(tmp_path / "large.png")
