"""Readers of SegTrack v2, FBMS-59, YouTube-VOS, DUTS and VOC on layouts written here, and what doctor says of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amd.data.benchmarks import open_benchmark
from amd.data.check import check_dataset
from amd.data.image_sets import open_images, voc2012
from amd.data.sequences import BenchmarkFrame, read_truth
from amd.errors import UserError

HEIGHT, WIDTH = 6, 10
LEFT, RIGHT = np.zeros((2, HEIGHT, WIDTH), bool)
LEFT[:, :3], RIGHT[2:4, 7:] = True, True


def save(path: Path, pixels: np.ndarray | None = None, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8) if pixels is None else pixels).save(path, **options)


def grey(mask: np.ndarray) -> np.ndarray:
    return mask * np.uint8(255)


@pytest.fixture
def segtrack(tmp_path: Path) -> Path:
    root = tmp_path / "SegTrackv2"
    for number in range(3):
        save(root / f"JPEGImages/frog/frog_{number}.png")
        save(root / f"GroundTruth/frog/frog_{number}.bmp", grey(LEFT))
        save(root / f"JPEGImages/bmx/bmx_{number}.bmp")
        save(root / f"GroundTruth/bmx/1/bmx_{number}.png", grey(LEFT))
    save(root / "GroundTruth/bmx/2/bmx_1.png", grey(RIGHT))  # the second object is away in two frames
    return root


def test_segtrack_merges_objects(segtrack: Path):
    bmx, frog = open_benchmark("segtrackv2", segtrack)
    assert [len(sequence.scored_frames) for sequence in (bmx, frog)] == [3, 3]
    assert (read_truth(bmx.frames[0]) == LEFT).all()
    assert (read_truth(bmx.frames[1]) == LEFT | RIGHT).all()
    assert (read_truth(frog.frames[2]) == LEFT).all()


def test_segtrack_mistakes(segtrack: Path):
    with pytest.raises(UserError, match=f"did you mean {segtrack}"):
        open_benchmark("segtrackv2", segtrack.parent)
    with pytest.raises(UserError, match=f"did you mean {segtrack}"):
        open_benchmark("segtrackv2", segtrack / "JPEGImages")
    save(segtrack / "GroundTruth/bmx/2/bmx_9.png", grey(RIGHT))
    with pytest.raises(UserError, match=r"2/bmx_9\.png: an annotation without frame"):
        open_benchmark("segtrackv2", segtrack)
    (segtrack / "GroundTruth/bmx/2/bmx_9.png").unlink()
    save(segtrack / "GroundTruth/bmx/2/bmx_1.png", grey(RIGHT.T))
    with pytest.raises(UserError, match=r"bmx_1\.png: 6x10 pixels, but .* has 10x6"):
        read_truth(open_benchmark("segtrackv2", segtrack)[0].frames[1])
    (segtrack / "GroundTruth/frog/frog_1.bmp").unlink()
    with pytest.raises(UserError, match=r"frog_1\.png: a frame without annotation"):
        open_benchmark("segtrackv2", segtrack)


@pytest.fixture
def fbms(tmp_path: Path) -> Path:
    """A colour-coded, a grey and a defined sequence, in both sets."""
    root = tmp_path / "FBMS"
    coloured = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    coloured[LEFT], coloured[RIGHT] = (0, 0, 0), (255, 255, 0)  # black is an object here
    for name, split in {"bear01": "Testset", "marple1": "Testset", "cars1": "Trainingset"}.items():
        for number in range(1, 5):
            save(root / split / name / f"{name}_{number:03d}.jpg")
    bear = root / "Testset/bear01/GroundTruth"
    save(bear / "bear01_001_gt.ppm", coloured)
    save(bear / "bear01_001_gt.pgm", grey(~RIGHT))  # its lossy copy
    save(bear / "bear01_001PROB_gt.ppm", coloured)
    save(root / "Testset/marple1/GroundTruth/marple1_003.pgm", np.where(LEFT, 85, np.where(RIGHT, 255, 0)).astype("u1"))
    cars = root / "Trainingset/cars1/GroundTruth"
    save(cars / "cars1_002.pgm", np.where(LEFT, 0, np.where(RIGHT, 40, 160)).astype("u1"))
    (cars / "cars1Def.dat").write_text("Total number of regions:\n3\nScale of region 0:\n160\nScale of region 1:\n0\n")
    return root


def test_fbms_codings(fbms: Path):
    sequences = {sequence.name: sequence for sequence in open_benchmark("fbms59", fbms)}
    assert list(sequences) == ["cars1", "bear01", "marple1"]
    for name, annotated in {"cars1": "cars1_002", "bear01": "bear01_001", "marple1": "marple1_003"}.items():
        (frame,) = sequences[name].scored_frames
        assert (frame.name, len(sequences[name].frames)) == (annotated, 4)
        assert (read_truth(frame) == LEFT | RIGHT).all(), name


def test_fbms_of_one_set_and_mistakes(fbms: Path):
    assert [sequence.name for sequence in open_benchmark("fbms59", fbms / "Testset")] == ["bear01", "marple1"]
    with pytest.raises(UserError, match=f"did you mean {fbms}"):
        open_benchmark("fbms59", fbms.parent)
    (fbms / "Trainingset/cars1/GroundTruth/cars1Def.dat").write_text("Scale of region 0:\nwhite\n")
    with pytest.raises(UserError, match=r"cars1Def\.dat: no colour of region 0"):
        open_benchmark("fbms59", fbms)


def test_fbms_background_as_24_bits(fbms: Path):
    folder = fbms / "Testset/bear01/GroundTruth"
    (folder / "bear01Def.dat").write_text(f"Scale of region 0:\n{0xFFFF00}\n")
    (frame,) = open_benchmark("fbms59", fbms / "Testset")[0].scored_frames
    assert (read_truth(frame) == ~RIGHT).all()


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    root = tmp_path / "valid"
    for number in range(0, 20, 5):
        save(root / f"JPEGImages/0a/{number:05d}.jpg")
    palette = Image.fromarray((LEFT * 1 + RIGHT * 2).astype(np.uint8))
    palette.putpalette([0, 0, 0, 0, 0, 0, 9, 9, 9])  # object 1 is painted black
    (root / "Annotations/0a").mkdir(parents=True)
    palette.save(root / "Annotations/0a/00005.png")
    (root / "meta.json").write_text(json.dumps({"videos": {"0a": {"objects": {}}}}))
    return root


def test_youtube_vos_is_sparse_and_indexed(youtube: Path):
    (video,) = open_benchmark("youtube_vos", youtube)
    (frame,) = video.scored_frames
    assert (len(video.frames), frame.name) == (4, "00005")
    assert (read_truth(frame) == LEFT | RIGHT).all()


@pytest.mark.parametrize("meta", ['{"videos": {"../0a": {}}}', '{"videos": {}}', "[1]", "{"])
def test_youtube_vos_meta_is_not_trusted(youtube: Path, meta: str):
    (youtube / "meta.json").write_text(meta)
    with pytest.raises(UserError, match=r"meta\.json: "):
        open_benchmark("youtube_vos", youtube)


def test_duts_pairs(tmp_path: Path):
    save(tmp_path / "D/DUTS-TE-Image/a.jpg")
    save(tmp_path / "D/DUTS-TE-Mask/a.png", grey(LEFT))
    (image,) = open_images("duts", tmp_path / "D")
    assert (read_truth(image) == LEFT).all()
    with pytest.raises(UserError, match=f"did you mean {tmp_path / 'D'}"):
        open_images("duts", tmp_path)
    save(tmp_path / "D/DUTS-TE-Image/b.jpg")
    with pytest.raises(UserError, match=r"b\.jpg: an image without mask; .*b\.png is missing"):
        open_images("duts", tmp_path / "D")


def test_real_duts_and_voc(shared_data: Path):
    assert len(open_images("duts", shared_data / "duts")) == 5
    assert [len(voc2012(shared_data / "voc2012", split)) for split in ("train", "val")] == [52, 25]
    with pytest.raises(UserError, match=r"test\.txt is missing"):
        voc2012(shared_data / "voc2012", "test")
    assert "5 images, 5 annotated, 5 to be scored" in check_dataset("duts", shared_data / "duts")


def test_doctor_says_what_is_there_and_what_is_damaged(segtrack: Path, fbms: Path):
    report = check_dataset("fbms59", fbms)
    assert "3 sequences, 12 frames, 3 annotated, 3 to be scored; the whole benchmark has 59 sequences" in report
    save(segtrack / "GroundTruth/frog/frog_0.bmp", grey(LEFT & RIGHT))
    save(segtrack / "GroundTruth/frog/frog_1.bmp", grey(LEFT.T))
    (segtrack / "JPEGImages/bmx/bmx_0.bmp").write_bytes(b"BM")
    report = check_dataset("segtrackv2", segtrack)
    assert "frog           3          3       3      1" in report
    assert f"damaged: {segtrack / 'GroundTruth/frog/frog_1.bmp'}: 6x10 pixels" in report
    assert f"damaged: {segtrack / 'JPEGImages/bmx/bmx_0.bmp'}: not a readable image" in report
    assert "2 problems" in report


def test_no_truth_is_a_programmers_mistake():
    with pytest.raises(ValueError, match="no truth"):
        read_truth(BenchmarkFrame("a", Path("a.png"), None))
