"""Exports: every kind read back by another program's reader and compared with the masks that went in."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from amd.draw import video
from amd.draw.colours import object_colour
from amd.draw.overlay import draw_mask
from amd.inference.export import EXPORTS, MaskedFrame, SourceInfo, is_whole, open_exports, parse_exports
from amd.runtime.errors import UserError

HEIGHT, WIDTH = 45, 67  # odd on purpose
TIMES = (0.0, 0.04, 0.12, 0.5)  # uneven on purpose
EMPTY = 2  # the frame without an object
CLIP = SourceInfo("clip")


def frame(index: int) -> MaskedFrame:
    """Two squares that move over a picture whose left half is red and right half blue; one frame has neither."""
    image = np.full((HEIGHT, WIDTH, 3), (210, 40, 40), np.uint8)
    image[:, WIDTH // 2 :] = (40, 40, 210)
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    if index != EMPTY:
        ids[4:20, 2 + index : 18 + index] = 1
        ids[25:44, 40:66] = 3
    soft = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    return MaskedFrame(index, f"{index:06d}", TIMES[index], image, ids > 0, soft, ids)


def write_all(folder: Path, names: tuple[str, ...], source: SourceInfo = CLIP, with_ids: bool = True) -> None:
    with open_exports(names, folder, source) as write:
        for index in range(len(TIMES) if not source.is_one_image else 1):
            whole = frame(index)
            write(whole if with_ids else replace(whole, ids=None))


def pictures(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            yield np.array(image)


def decoded(path: Path, pixels: str, decoder: str | None = None) -> list[tuple[float, np.ndarray]]:
    """Seconds and pictures of a video; `decoder` by name, since FFmpeg's own for VP9 passes transparency over."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.CodecContext.create(decoder, "r") if decoder else stream.codec_context
        frames = [
            found for packet in container.demux(stream) for found in context.decode(packet if packet.size else None)
        ]
        return [(float(found.pts * stream.time_base), found.to_ndarray(format=pixels)) for found in frames]


def test_pictures_hold_what_went_in(tmp_path: Path) -> None:
    write_all(tmp_path, ("masks", "soft", "soft16", "objects", "rgba"))
    for kind in ("masks", "soft", "soft16", "objects", "rgba"):
        assert [path.name for path in sorted((tmp_path / kind).iterdir())] == [f"{n:06d}.png" for n in range(4)]
    for index, mask, soft, deep, objects, rgba in zip(
        range(4), *(pictures(tmp_path / kind) for kind in ("masks", "soft", "soft16", "objects", "rgba")), strict=True
    ):
        given = frame(index)
        assert np.array_equal(mask, 255 * given.mask)
        assert soft.dtype == np.uint8
        assert np.abs(soft / 255 - given.soft).max() <= 0.5001 / 255
        assert deep.dtype == np.uint16
        assert np.abs(deep / 65535 - given.soft).max() <= 0.5001 / 65535
        assert np.array_equal(objects, given.ids)  # a palette picture: its values, not its colours
        assert np.array_equal(rgba[..., 3], 255 * given.mask)
        assert np.array_equal(rgba[given.mask][:, :3], given.image[given.mask])
        assert not rgba[~given.mask].any()


def test_objects_are_seen_in_their_colours(tmp_path: Path) -> None:
    write_all(tmp_path, ("objects",))
    shown = np.array(Image.open(tmp_path / "objects/000000.png").convert("RGB"))
    assert [tuple(shown[place]) for place in ((0, 0), (5, 5), (30, 50))] == [
        (0, 0, 0),
        object_colour(1),
        object_colour(3),
    ]


@pytest.mark.parametrize(
    ("coding", "decoder"), [(video.VP9_ALPHA, "libvpx-vp9"), (video.PRORES_ALPHA, None)], ids=["vp9", "prores"]
)
def test_a_cut_out_video_is_transparent_where_the_mask_is_not(
    coding: video.Coding, decoder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amd.inference.export.video.alpha_coding", lambda: coding)
    write_all(tmp_path, ("alpha",))
    frames = decoded(tmp_path / f"alpha{coding.suffix}", "rgba", decoder)
    assert [round(seconds, 3) for seconds, _ in frames] == list(TIMES)
    for index, (_, picture) in enumerate(frames):
        given = frame(index)
        assert picture.shape == (HEIGHT, WIDTH, 4)
        assert ((picture[..., 3] > 127) == given.mask).mean() > 0.995
        colours = np.abs(picture[..., :3].astype(int) - given.image)[given.mask]
        assert not len(colours) or colours.mean() < 15
    assert frames[EMPTY][1][..., 3].max() < 30


def test_vp9_is_the_coding_where_ffmpeg_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert video.alpha_coding() is video.VP9_ALPHA

    def without_vpx(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr("av.codec.Codec", without_vpx)
    assert video.alpha_coding() is video.PRORES_ALPHA


@pytest.mark.parametrize("with_ids", [True, False])
def test_coco_is_read_back_by_pycocotools(with_ids: bool, tmp_path: Path) -> None:
    write_all(tmp_path, ("coco",), with_ids=with_ids)
    read = COCO(str(tmp_path / "coco.json"))
    images = read.loadImgs(sorted(read.getImgIds()))
    assert [(image["file_name"], image["timestamp"]) for image in images] == [
        (f"{n:06d}.png", seconds) for n, seconds in enumerate(TIMES)
    ]
    assert len(set(read.getAnnIds())) == (6 if with_ids else 3)
    for index, image in enumerate(images):
        given = frame(index)
        assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
        annotations = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
        expected = {1: given.ids == 1, 3: given.ids == 3} if with_ids else {1: given.mask}
        assert [a["track_id"] for a in annotations] == ([] if index == EMPTY else list(expected))
        for annotation in annotations:
            mask = expected[annotation["track_id"]]
            assert np.array_equal(read.annToMask(annotation).astype(bool), mask)
            assert annotation["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
            assert annotation["iscrowd"] == 0
            assert read.loadCats([annotation["category_id"]])[0]["name"] == "object"


def test_coco_names_a_folders_images_by_their_files(tmp_path: Path) -> None:
    files = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    write_all(tmp_path, ("coco",), SourceInfo("folder", files))
    found = json.loads((tmp_path / "coco.json").read_text())
    assert tuple(image["file_name"] for image in found["images"]) == files


def test_boxes_and_timestamps(tmp_path: Path) -> None:
    write_all(tmp_path, ("boxes", "timestamps"))
    rows = list(csv.DictReader((tmp_path / "boxes.csv").open()))
    assert [(row["frame"], row["object_id"]) for row in rows] == [
        (f"{n:06d}", number) for n in (0, 1, 3) for number in ("1", "3")
    ]
    first = {name: float(value) for name, value in rows[2].items()}  # of frame 1: rows 4 to 19, columns 3 to 18
    assert first == {
        **{"frame": 1, "timestamp": 0.04, "object_id": 1},
        **{"x": 3, "y": 4, "width": 16, "height": 16, "area": 256},
    }
    times = list(csv.DictReader((tmp_path / "timestamps.csv").open()))
    assert [(int(row["index"]), row["frame"], float(row["timestamp"])) for row in times] == [
        (n, f"{n:06d}", seconds) for n, seconds in enumerate(TIMES)
    ]


@pytest.mark.parametrize("with_ids", [True, False])
def test_the_overlay_is_the_frames_with_their_masks_drawn(with_ids: bool, tmp_path: Path) -> None:
    write_all(tmp_path, ("overlay",), with_ids=with_ids)
    frames = decoded(tmp_path / "overlay.mp4", "rgb24")
    assert [round(seconds, 3) for seconds, _ in frames] == list(TIMES)
    assert frames[0][1].shape == (HEIGHT + 1, WIDTH + 1, 3)  # H.264 has even sizes
    given = frame(1)
    drawn = given.image
    for mask, colour in [(given.ids == 1, object_colour(1)), (given.ids == 3, object_colour(3))]:
        drawn = draw_mask(drawn, mask, colour) if with_ids else draw_mask(given.image, given.mask)
    assert np.abs(frames[1][1][:HEIGHT, :WIDTH].astype(int) - drawn).mean() < 12
    other = draw_mask(given.image, given.mask) if with_ids else given.image
    assert np.abs(frames[1][1][:HEIGHT, :WIDTH].astype(int) - other).mean() > 12


def test_of_one_image_pictures_stand_for_videos(tmp_path: Path) -> None:
    write_all(tmp_path, ("overlay", "alpha"), SourceInfo("photo", ("photo.jpg",)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alpha.png", "overlay.png"]
    assert np.array_equal(np.array(Image.open(tmp_path / "alpha.png"))[..., 3], 255 * frame(0).mask)


def test_an_interrupted_export_leaves_no_half_file_and_is_made_again(tmp_path: Path) -> None:
    names = tuple(EXPORTS)

    def interrupted() -> None:
        with open_exports(names, tmp_path, CLIP) as write:
            write(frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
    assert not any(is_whole(name, tmp_path, 4) for name in names)
    write_all(tmp_path, names)
    assert all(is_whole(name, tmp_path, 4) for name in names)
    write_all(tmp_path / "at once", names)
    contents = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.suffix not in (".webm", "")}
        for root in (tmp_path / "at once", tmp_path)
    ]
    assert contents[0] == {name: content for name, content in contents[1].items() if not name.startswith("at once")}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("soft16", {"soft": None}, "needs `soft`"),
        ("objects", {"ids": None}, "needs `ids`"),
        ("masks", {"mask": np.zeros((HEIGHT, WIDTH), np.uint8)}, "mask is uint8"),
        ("masks", {"mask": np.zeros((WIDTH, HEIGHT), bool)}, "not bool \\(45, 67\\)"),
        ("rgba", {"image": np.zeros((HEIGHT, WIDTH, 3))}, "image is float64"),
    ],
)
def test_a_frame_that_lacks_or_mistakes_something_is_refused(
    name: str, change: dict, message: str, tmp_path: Path
) -> None:
    wrong = MaskedFrame(**{**vars(frame(0)), **change})
    with pytest.raises(ValueError, match=message), open_exports((name,), tmp_path, CLIP) as write:
        write(wrong)


def test_names_are_parsed_and_wrong_ones_named() -> None:
    assert parse_exports("coco, masks,coco") == ("coco", "masks")
    with pytest.raises(UserError, match=r"--export coco,mask: 'mask' is no export; choose of masks, soft"):
        parse_exports("coco,mask")
