"""Training images of VOC and SBD, their augmentation, and the stream, whatever the workers and processes."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from voc import COLOURS, image_of, labels_of, write_image, write_list, write_voc

from amd.data.benchmarks.image_sets import voc2012
from amd.data.benchmarks.voc import read_labelled, training_images
from amd.data.images import write_labels
from amd.data.labelled.batches import dealt
from amd.data.labelled.semantic_reader import SemanticBatch, SemanticReader
from amd.data.labelled.transforms import BEYOND, SemanticTransform, blurred, recoloured
from amd.runtime.errors import UserError

LIGHT = SemanticTransform(short_edge=48, min_scale=0.5, max_scale=2.0, crop=40, heavy=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOC2012", train=5)


def write_sbd(root: Path, lists: dict[str, list[str]]) -> Path:
    """SBD's own layout: every image has the labels of image 7, as MATLAB's struct GTcls."""
    for split, names in lists.items():
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            write_image(root, name, labels_of(7))
            labels = np.where(labels_of(7) == 255, 0, labels_of(7)).astype(np.uint8)
            (root / "cls").mkdir(exist_ok=True)
            savemat(root / f"cls/{name}.mat", {"GTcls": {"Segmentation": labels, "CategoriesPresent": [2]}})
    (root / "JPEGImages").rename(root / "img")
    return root


def test_sbd_adds_what_voc_does_not_have(root: Path, tmp_path: Path):
    sbd = write_sbd(tmp_path / "dataset", {"train": ["train0", "more0"], "val": ["val1", "more1", "more0"]})
    frames = training_images(root, sbd)
    assert [frame.name for frame in frames] == [*(f"train{number}" for number in range(5)), "more0", "more1"]
    image, labels = read_labelled(frames[-1], 4)
    assert image.shape == (48, 64, 3)
    np.testing.assert_array_equal(labels == 2, labels_of(7) == 2)
    np.testing.assert_array_equal(read_labelled(frames[0], 4)[1], labels_of(0))  # VOC's own
    (tmp_path / "dataset/cls/more1.mat").write_bytes(b"MATLAB 5.0 half a file")
    with pytest.raises(UserError, match=r"more1\.mat: not a readable label file of SBD"):
        read_labelled(frames[-1], 4)
    (tmp_path / "dataset/img/more0.jpg").unlink()
    with pytest.raises(UserError, match=r"img/more0\.jpg: listed in .*, but not there"):
        training_images(root, sbd)
    with pytest.raises(UserError, match=f"not SBD, img is missing; did you mean {sbd}"):
        training_images(root, tmp_path)


@pytest.mark.parametrize("name", ["train_aug", "trainaug"])
def test_a_merged_list_is_the_training_set(root: Path, name: str):
    write_image(root, "extra", labels_of(1), folder="SegmentationClassAug")
    write_list(root, name, ["extra"])
    (frame,) = training_images(root)
    assert frame.truth == root / "SegmentationClassAug/extra.png"


def test_without_sbd_the_training_set_is_vocs(root: Path):
    assert [frame.name for frame in training_images(root)] == [f"train{number}" for number in range(5)]


def test_labels_stay_with_their_pixels():
    labels = labels_of(1)
    random = np.random.default_rng(0)
    for _ in range(20):
        image, moved = LIGHT(image_of(labels), labels, random)
        assert (image.shape, moved.shape) == ((40, 40, 3), (40, 40))
        beyond = (image == BEYOND).all(axis=2)
        nearest = np.abs(image[:, :, None].astype(int) - COLOURS).sum(3).argmin(2)
        seen = (moved != 255) & ~beyond
        assert (nearest == moved)[seen].mean() > 0.93  # but for the blend at the squares' edges
        assert (moved[beyond] == 255).all()


def test_light_scales_crops_and_flips():
    labels = np.zeros((48, 64), np.uint8)
    labels[:, :32] = 1
    random = np.random.default_rng(0)
    seen = [LIGHT(image_of(labels), labels, random)[1] for _ in range(60)]
    assert any((crop == 255).any() for crop in seen)  # smaller than the crop
    assert any((crop == 1).all() for crop in seen)  # larger
    left_of = [crop[0, 0] == 1 for crop in seen if {0, 1} <= set(np.unique(crop))]
    assert 0.2 < np.mean(left_of) < 0.8


def test_heavy_recolours_and_moves_nothing():
    heavy = SemanticTransform(48, 0.5, 2.0, 40, heavy=True)
    labels = labels_of(2)
    changed = 0
    for seed in range(20):
        light_image, light_labels = LIGHT(image_of(labels), labels, np.random.default_rng(seed))
        image, moved = heavy(image_of(labels), labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved, light_labels)
        assert image.dtype == np.uint8
        changed += (image != light_image).any()
    assert changed >= 16  # neither jitter nor grey nor blur: a chance of 0.08


def test_the_colours_of_heavy():
    random = np.random.default_rng(0)
    image = np.broadcast_to(np.array([200, 60, 30], np.uint8), (8, 8, 3)).copy()
    drawn = np.stack([recoloured(image, random)[0, 0] for _ in range(400)]).astype(int)
    grey = (np.ptp(drawn, axis=1) == 0).mean()
    assert 0.13 < grey < 0.27  # a chance of 0.2
    assert 0.10 < (drawn == [200, 60, 30]).all(1).mean() < 0.23  # 0.2 without jitter, of which 0.8 in colour
    step = np.zeros((9, 9, 3), np.uint8)
    step[:, 5:] = 255
    edges = [(np.diff(blurred(step, random)[4, :, 0].astype(int)) > 0).sum() for _ in range(100)]
    assert 0.3 < np.mean(np.array(edges) == 1) < 0.75  # half of them as they were, or all but
    assert max(edges) >= 5


def reader(root: Path, **changes: int) -> SemanticReader:
    settings = {"frames": voc2012(root, "train"), "classes": 4, "transform": LIGHT, "batch_size": 2, "seed": 0}
    return SemanticReader(**(settings | changes))


def same(first: SemanticBatch, second: SemanticBatch) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)


def test_a_resumed_stream_goes_on_as_the_first_with_any_number_of_workers(root: Path):
    whole = list(islice(reader(root).batches(0, 0), 6))
    for batch, resumed in zip(whole[3:], reader(root).batches(0, 3), strict=False):
        assert same(batch, resumed)
    for batch, read in zip(whole, reader(root).batches(2, 0), strict=False):
        assert same(batch, read)
    assert not same(whole[0], next(iter(reader(root, seed=1).batches(0, 0))))


def test_two_processes_read_what_one_would(root: Path):
    one = reader(root, batch_size=4).batch(3)
    parts = [reader(root, batch_size=2, rank=rank, world_size=2).batch(3) for rank in range(2)]
    assert torch.equal(one.images, torch.cat([part.images for part in parts]))


def test_every_epoch_deals_every_item_once_in_another_order():
    epochs = [[dealt(place, 5, seed=3, stream=1) for place in range(start, start + 5)] for start in range(0, 40, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 4
    assert [dealt(place, 5, seed=4, stream=1) for place in range(40)] != [item for epoch in epochs for item in epoch]


def test_a_damaged_image_is_named_also_from_a_reader_process(root: Path):
    (root / "JPEGImages/train3.jpg").write_bytes(b"nothing")
    for num_workers in (0, 1):
        with pytest.raises(UserError, match=r"train3\.jpg: not a readable image"):
            list(islice(reader(root, batch_size=5).batches(num_workers, 0), 1))
    write_image(root, "train3", labels_of(3))
    frame = voc2012(root, "train")[3]
    write_labels(frame.truth, np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match=r"train3\.png: 9x9 pixels, but its image has 64x48"):
        read_labelled(frame, 4)
