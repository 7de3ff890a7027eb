"""What `amd doctor --dataset` says: every problem of a copy, what it has against the whole, what would be scored."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from layouts import HEIGHT, LEFT, RIGHT, WIDTH, grey, save, write_davis, write_fbms, write_segtrack, write_youtube

from amd.cli import main
from amd.data.benchmarks.doctor import DAVIS_VALIDATION, check_dataset
from amd.runtime.errors import UserError


def problems_of(report: str) -> list[str]:
    """The lines behind "N problems:", whose number must be right."""
    lines = report.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.endswith(("problem:", "problems:", " problems")))
    assert lines[at].split()[0] == str(len(lines) - at - 1)
    return [line.strip() for line in lines[at + 1 :]]


def row_of(report: str, name: str) -> list[str]:
    """Frames, annotated, scored, empty, size of a sequence."""
    return next(line.split()[1:] for line in report.splitlines() if line.split()[:1] == [name])


def test_a_sound_copy_has_no_problems_but_is_not_whole(tmp_path: Path):
    report = check_dataset("fbms59", write_fbms(tmp_path / "FBMS"))
    assert problems_of(report) == []
    assert "3 sequences, 12 frames, 3 annotated, 3 to be scored" in report
    assert "the whole benchmark: 3 of 59 sequences, 3 of 720 annotated frames: NOT complete" in report
    assert row_of(report, "bear01") == ["4", "1", "1", "0", "10x6"]


def test_all_problems_are_told_not_only_the_first(tmp_path: Path):
    root = write_segtrack(tmp_path / "SegTrackv2")
    truth = root / "GroundTruth"
    save(truth / "frog/frog_0.bmp", grey(LEFT & RIGHT))  # empty
    save(truth / "frog/frog_1.bmp", grey(LEFT.T))
    (root / "JPEGImages/bmx/bmx_0.bmp").write_bytes(b"BM")
    save(truth / "bmx/2/bmx_8.png", grey(LEFT))
    save(truth / "bmx/2/bmx_9.png", grey(LEFT))
    (truth / "bmx/1/bmx_2.png").unlink()
    (root / "JPEGImages/worm").mkdir()
    report = check_dataset("segtrackv2", root)
    found = problems_of(report)
    assert found == [
        f"{truth / 'bmx/2/bmx_8.png'}: an annotation without frame in {root / 'JPEGImages/bmx'}; "
        "remove it or complete the copy",
        f"{truth / 'bmx/2/bmx_9.png'}: an annotation without frame in {root / 'JPEGImages/bmx'}; "
        "remove it or complete the copy",
        f"{root / 'JPEGImages/bmx/bmx_2.bmp'}: a frame without annotation; complete the copy of the benchmark",
        f"{root / 'JPEGImages/worm'}: no .bmp or .jpeg or .jpg or .png file in it; complete the copy",
        *found[4:],
    ]
    assert found[4].startswith(f"damaged: {root / 'JPEGImages/bmx/bmx_0.bmp'}: not a readable image")
    assert found[5].startswith(f"damaged: {truth / 'frog/frog_1.bmp'}: 6x10 pixels, but its frame has 10x6")
    assert row_of(report, "frog") == ["3", "3", "2", "1", "10x6"]
    assert row_of(report, "bmx")[:3] == ["3", "2", "1"]
    assert "2 sequences, 6 frames, 5 annotated, 3 to be scored" in report


def clips(root: Path, **lengths: int) -> Path:
    for name, frames in lengths.items():
        write_davis(root, name, [(None, LEFT)] * frames)
    return root


def test_davis_names_what_is_missing(tmp_path: Path):
    root = clips(tmp_path, dog=60, bear=4, libby=7)
    (root / "Annotations/480p/bear/00001.png").unlink()
    (root / "Annotations/480p/bear/00002.png").unlink()
    report = check_dataset("davis2016", root)
    assert [problem.split(":")[0] for problem in problems_of(report)] == [
        str(root / f"JPEGImages/480p/bear/{number:05d}.jpg") for number in (1, 2)
    ] + ["bear"]
    assert "the benchmark's validation set: 3 of 20 sequences, 69 of 1376 annotated frames: NOT complete" in report
    assert f"short edge of 480 pixels; here it is {HEIGHT}" in report
    assert "libby has 7 of 49 frames" in report
    missing = next(line for line in report.splitlines() if line.startswith("not here: "))
    assert missing.removeprefix("not here: ").split(", ") == [
        name for name in DAVIS_VALIDATION if name not in ("dog", "libby")
    ]
    assert sum(DAVIS_VALIDATION.values()) == 1376
    assert len(DAVIS_VALIDATION) == 20


def test_a_missing_sequence_of_a_list_and_a_line_that_is_no_name(tmp_path: Path):
    root = clips(tmp_path, bear=4)
    (root / "ImageSets").mkdir()
    (root / "ImageSets/sequences.txt").write_text("bear\n../etc\ncamel\n")
    found = problems_of(check_dataset("davis2016", root))
    assert len(found) == 2
    assert "line 2 is '../etc'" in found[0]
    assert found[1].startswith(f"{root / 'JPEGImages/480p/camel'}: the sequence's folder is missing")


def test_youtube_vos_with_a_missing_video(tmp_path: Path):
    root = write_youtube(tmp_path / "valid")
    (root / "meta.json").write_text('{"videos": {"0a": {}, "1b": {}}}')
    shutil.copy(root / "Annotations/0a/00005.png", root / "Annotations/0a/00006.png")
    first, second = problems_of(check_dataset("youtubevos", root))
    assert "00006.png: an annotation without frame" in first
    assert "1b: the sequence's folder is missing" in second


def test_a_sequence_that_is_empty_everywhere(tmp_path: Path):
    root = clips(tmp_path, bear=4)
    for path in (root / "Annotations/480p/bear").iterdir():
        save(path, grey(LEFT & RIGHT))
    report = check_dataset("davis2016", root)
    assert problems_of(report) == ["bear: no object in any of its 4 annotations; nothing to find"]
    assert row_of(report, "bear")[3] == "4"


def write_voc(root: Path, maps: dict[str, np.ndarray]) -> Path:
    for name, classes in maps.items():
        save(root / f"JPEGImages/{name}.jpg")
        save(root / f"SegmentationClass/{name}.png", classes)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("".join(f"{name}\n" for name in maps))
    return root


def test_voc_with_void_images_and_values_that_are_no_class(tmp_path: Path):
    void, cat = np.full((HEIGHT, WIDTH), 255, np.uint8), np.where(LEFT, 8, 255).astype(np.uint8)
    root = write_voc(tmp_path / "VOC2012", {"a": cat, "b": void, "c": np.full_like(cat, 77), "d": void * 0})
    (root / "JPEGImages/d.jpg").unlink()
    missing, all_void, wrong = problems_of(report := check_dataset("voc2012", root))
    assert missing.startswith(f"{root / 'JPEGImages/d.jpg'}: listed in ")
    assert all_void.startswith(f"damaged: {root / 'SegmentationClass/b.png'}: all void (255)")
    assert wrong.startswith(f"damaged: {root / 'SegmentationClass/c.png'}: value 77 is no class")
    assert "3 images, 3 annotated, 1 to be scored" in report
    assert "3 of 1449 annotated images: NOT complete" in report


def test_voc_tells_of_its_training_images_too(tmp_path: Path):
    cat = np.where(LEFT, 8, 0).astype(np.uint8)
    root = write_voc(tmp_path / "VOC2012", {"a": cat, "b": cat, "c": np.full_like(cat, 77)})
    report = check_dataset("voc2012", root)
    assert f"training images: none, no train.txt in {root / 'ImageSets/Segmentation'}" in report
    lists = root / "ImageSets/Segmentation"
    (lists / "val.txt").write_text("a\n")
    (lists / "train.txt").write_text("b\nc\nmissing\n")
    report = check_dataset("voc2012", root)
    assert "1 images, 1 annotated, 1 to be scored" in report
    assert "training images: 2 annotated, 1 readable; VOC has 1464, with SBD 10582" in report
    missing, wrong = problems_of(report)
    assert missing.startswith(f"{root / 'JPEGImages/missing.jpg'}: listed in {lists / 'train.txt'}")
    assert wrong.startswith(f"damaged: {root / 'SegmentationClass/c.png'}: value 77 is no class")


def test_duts_tells_every_unpaired_image(tmp_path: Path):
    for name in "abc":
        save(tmp_path / f"D/DUTS-TE-Image/{name}.jpg")
    for name in "cd":
        save(tmp_path / f"D/DUTS-TE-Mask/{name}.png", grey(LEFT))
    found = problems_of(check_dataset("duts", tmp_path / "D"))
    assert [Path(problem.split(":")[0]).name for problem in found] == ["a.jpg", "b.jpg", "d.png"]


@pytest.mark.parametrize("dataset", ["davis2016", "segtrackv2", "fbms59", "youtubevos", "duts", "voc2012"])
def test_a_root_one_folder_too_high_names_the_right_one(dataset: str, tmp_path: Path):
    root = tmp_path / "copy"
    if dataset == "duts":
        save(root / "DUTS-TE-Image/a.jpg")
        save(root / "DUTS-TE-Mask/a.png", grey(LEFT))
    else:
        write = {
            "davis2016": lambda root: clips(root, bear=4),
            "segtrackv2": write_segtrack,
            "fbms59": write_fbms,
            "youtubevos": write_youtube,
            "voc2012": lambda root: write_voc(root, {"a": grey(LEFT) * 0}),
        }[dataset]
        write(root)
    with pytest.raises(UserError, match=f"did you mean {root}"):
        check_dataset(dataset, tmp_path)


def test_the_command_on_real_data(shared_data: Path, capsys: pytest.CaptureFixture[str]):
    main(["doctor", "--dataset", "duts", "--root", str(shared_data / "duts")])
    assert "5 images, 5 annotated, 5 to be scored" in capsys.readouterr().out
    main(["doctor", "--dataset", "voc2012", "--root", str(shared_data / "voc2012")])
    said = capsys.readouterr().out
    assert "25 images, 25 annotated, 25 to be scored" in said
    assert "training images: 52 annotated, 52 readable" in said
