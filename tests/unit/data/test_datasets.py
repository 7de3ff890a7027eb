"""Readers of SegTrack v2, FBMS-59, YouTube-VOS, DUTS and VOC on layouts written here."""

from pathlib import Path

import numpy as np
import pytest
from layouts import LEFT, RIGHT, grey, save, write_fbms, write_segtrack, write_youtube

from amd.data.benchmarks.davis import open_benchmark
from amd.data.benchmarks.image_sets import open_images, voc2012
from amd.data.benchmarks.sequences import BenchmarkFrame, read_truth
from amd.runtime.errors import UserError


@pytest.fixture
def segtrack(tmp_path: Path) -> Path:
    return write_segtrack(tmp_path / "SegTrackv2")


def test_segtrack_merges_objects(segtrack: Path):
    bmx, frog = open_benchmark("segtrackv2", segtrack)
    assert [len(sequence.scored_frames) for sequence in (bmx, frog)] == [3, 3]
    assert (read_truth(bmx.frames[0]) == LEFT).all()
    assert (read_truth(bmx.frames[1]) == LEFT | RIGHT).all()
    assert (read_truth(frog.frames[2]) == LEFT).all()


def test_segtrack_mistakes(segtrack: Path):
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
    return write_fbms(tmp_path / "FBMS")


def test_fbms_codings(fbms: Path):
    sequences = {sequence.name: sequence for sequence in open_benchmark("fbms59", fbms)}
    assert list(sequences) == ["cars1", "bear01", "marple1"]
    for name, annotated in {"cars1": "cars1_002", "bear01": "bear01_001", "marple1": "marple1_003"}.items():
        (frame,) = sequences[name].scored_frames
        assert (frame.name, len(sequences[name].frames)) == (annotated, 4)
        assert (read_truth(frame) == LEFT | RIGHT).all(), name


def test_fbms_of_one_set_and_mistakes(fbms: Path):
    assert [sequence.name for sequence in open_benchmark("fbms59", fbms / "Testset")] == ["bear01", "marple1"]
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
    return write_youtube(tmp_path / "valid")


def test_youtube_vos_is_sparse_and_indexed(youtube: Path):
    (video,) = open_benchmark("youtubevos", youtube)
    (frame,) = video.scored_frames
    assert (len(video.frames), frame.name) == (4, "00005")
    assert (read_truth(frame) == LEFT | RIGHT).all()


@pytest.mark.parametrize("meta", ['{"videos": {"../0a": {}}}', '{"videos": {}}', "[1]", "{"])
def test_youtube_vos_meta_is_not_trusted(youtube: Path, meta: str):
    (youtube / "meta.json").write_text(meta)
    with pytest.raises(UserError, match=r"meta\.json: "):
        open_benchmark("youtubevos", youtube)


def test_duts_pairs(tmp_path: Path):
    save(tmp_path / "D/DUTS-TE-Image/a.jpg")
    save(tmp_path / "D/DUTS-TE-Mask/a.png", grey(LEFT))
    (image,) = open_images("duts", tmp_path / "D")
    assert (read_truth(image) == LEFT).all()
    save(tmp_path / "D/DUTS-TE-Mask/a.png", np.where(LEFT, 200, 60).astype(np.uint8))  # soft edges are halved
    assert (read_truth(image) == LEFT).all()
    save(tmp_path / "D/DUTS-TE-Image/b.jpg")
    with pytest.raises(UserError, match=r"b\.jpg: an image without mask; .*b\.png is missing"):
        open_images("duts", tmp_path / "D")


def test_real_duts_and_voc(shared_data: Path):
    assert len(open_images("duts", shared_data / "duts")) == 5
    assert [len(voc2012(shared_data / "voc2012", split)) for split in ("train", "val")] == [52, 25]
    with pytest.raises(UserError, match=r"test\.txt is missing"):
        voc2012(shared_data / "voc2012", "test")


def test_no_truth_is_a_programmers_mistake():
    with pytest.raises(ValueError, match="no truth"):
        read_truth(BenchmarkFrame("a", Path("a.png"), None))
