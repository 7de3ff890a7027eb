"""Images with instances: the layout of Pascal VOC, the built-in ones, and the training stream that is made of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amd.config import InstanceCorpus
from amd.data.benchmarks.instances import (
    VOC_CLASSES,
    VOID,
    Labelled,
    class_names,
    connected_instances,
    open_instances,
    read_instances,
)
from amd.data.images import read_labels, write_labels
from amd.data.labelled.instance_reader import NOBODY, InstanceReader, augment, sample_points
from amd.data.labelled.transforms import SemanticTransform
from amd.data.synthetic import scenes
from amd.data.synthetic.instances import FAMILIES, SPLITS, make_instance_corpus, render_instances
from amd.runtime.errors import UserError

CORPUS = InstanceCorpus(train_images=6, heldout_images=3, width=96, height=64, seed=0, workers=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "instances"
    make_instance_corpus(folder, CORPUS)
    return folder


def make_root(root: Path, classes: np.ndarray, instances: np.ndarray | None, names: str | None = None) -> Path:
    """A set of one training image."""
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("one\n")
    Image.fromarray(np.full((*classes.shape, 3), 90, np.uint8)).save(root / "JPEGImages/one.jpg")
    write_labels(root / "SegmentationClass/one.png", classes)
    if instances is not None:
        write_labels(root / "SegmentationObject/one.png", instances)
    if names is not None:
        (root / "classes.txt").write_text(names)
    return root


def halves(left: int, right: int) -> np.ndarray:
    values = np.full((8, 12), left, np.uint8)
    values[:, 6:] = right
    return values


# The built-in images


def test_every_object_has_one_family_and_the_splits_share_none(corpus):
    assert class_names([corpus]) == FAMILIES
    seen = {}
    for split in ("train", "val"):
        families = set()
        for item in open_instances([corpus], split):
            labelled = read_instances(item)
            assert labelled.exact
            assert ((labelled.instances > 0) == (labelled.classes > 0)).all()
            for number in range(1, labelled.instances.max() + 1):
                inside = np.unique(labelled.classes[labelled.instances == number])
                assert len(inside) == 1
                families.add(FAMILIES[inside[0] - 1])
        seen[split] = families
    assert seen["train"] <= {maker.__name__ for maker in scenes.TRAIN.makers}
    assert seen["val"] <= {maker.__name__ for maker in scenes.HELDOUT.makers}
    assert seen["train"]
    assert seen["val"]


def test_the_mask_is_where_the_object_is():
    """Objects are more colourful than all scenery: so are the pixels of their masks."""
    image, _, instances = render_instances((1, 2, 3), 96, 160, scenes.TRAIN)
    inside, outside = image[instances > 0].astype(float), image[instances == 0].astype(float)
    saturation = lambda pixels: (pixels.max(1) - pixels.min(1)).mean()
    assert instances.any()
    assert saturation(inside) > 1.5 * saturation(outside)


def test_images_are_the_same_with_any_number_of_workers_and_differ_from_one_another(corpus, tmp_path):
    make_instance_corpus(tmp_path / "again", CORPUS.model_copy(update={"workers": 1}))
    files = sorted(path.relative_to(corpus) for path in corpus.rglob("*") if path.is_file())
    assert len(files) == 9 * 3 + 3
    for name in files:
        assert (corpus / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    pictures = {(corpus / name).read_bytes() for name in files if name.suffix == ".jpg"}
    assert len(pictures) == 9


def test_enough_of_every_object_is_seen():
    """Over many scenes: several objects often, some of one family, and none hidden away."""
    counts, twins = [], 0
    for index in range(24):
        style = list(SPLITS.values())[index % 2]
        _, classes, instances = render_instances((7, index), 48, 84, style)
        numbers, areas = np.unique(instances[instances > 0], return_counts=True)
        assert (areas >= 8).all()
        kinds = [classes[instances == number][0] for number in numbers]
        counts.append(len(numbers))
        twins += len(set(kinds)) < len(kinds)
    assert set(counts) <= {1, 2, 3, 4}
    assert np.mean(np.array(counts) > 1) > 0.4
    assert twins >= 3


# The reader


def test_class_numbers_of_several_sets_agree_by_name(tmp_path):
    mine = make_root(tmp_path / "mine", halves(1, 2), halves(1, 2), "unicorn\ncar\n")
    voc = make_root(tmp_path / "voc", halves(0, 7), halves(0, 1))  # VOC's 7 is a car
    names = class_names([mine, voc])
    assert names == ("unicorn", "car", *(name for name in VOC_CLASSES if name != "car"))
    first, second = (read_instances(item) for item in open_instances([mine, voc], "train"))
    np.testing.assert_array_equal(first.classes, halves(1, 2))
    np.testing.assert_array_equal(second.classes, halves(0, 2))


def test_a_set_of_other_classes_than_the_networks_is_refused(tmp_path):
    root = make_root(tmp_path / "mine", halves(1, 2), None, "unicorn\ncar\n")
    with pytest.raises(UserError, match="'unicorn', which the network has not learned"):
        open_instances([root], "train", VOC_CLASSES)


def test_void_stays_void_and_regions_stand_for_instances_where_there_are_no_masks(tmp_path):
    classes = np.zeros((8, 12), np.uint8)
    classes[1:3, 1:3], classes[5:7, 1:3], classes[1:7, 6:9] = 3, 3, 5
    classes[3:5] = VOID
    item = open_instances([make_root(tmp_path / "set", classes, None)], "train")[0]
    labelled = read_instances(item)
    assert not labelled.exact
    by_hand = np.zeros((8, 12), np.int32)
    by_hand[1:3, 1:3], by_hand[5:7, 1:3] = 1, 2
    by_hand[1:3, 6:9], by_hand[5:7, 6:9] = 3, 4  # void goes through the second class too
    by_hand[3:5] = VOID
    np.testing.assert_array_equal(labelled.instances, by_hand)
    np.testing.assert_array_equal(labelled.classes, classes)


def test_more_regions_than_eight_bits_hold_are_all_told_apart_and_none_is_void():
    classes = np.zeros((61, 61), np.uint8)
    classes[::3, ::3] = 1
    instances = connected_instances(classes)
    assert len(np.unique(instances)) == 1 + 21 * 21
    assert VOID not in instances


@pytest.mark.parametrize(
    ("classes", "instances", "names", "message"),
    [
        (halves(0, 3), halves(0, 1), "cat dog", "one.png: value 3 is no class"),
        (halves(0, 1), halves(0, 1)[:, :9], "cat", "one.png: 9x8 pixels, but"),
        (halves(0, 1), None, "", "classes.txt: is empty"),
        (halves(0, 1), None, "cat cat", "classes.txt: names a class twice"),
    ],
)
def test_what_is_wrong_with_a_set_is_said_in_one_line(tmp_path, classes, instances, names, message):
    root = make_root(tmp_path / "set", classes, instances, names)
    with pytest.raises(UserError) as error:
        [read_instances(item) for item in open_instances([root], "train")]
    assert message in str(error.value)
    assert str(root) in str(error.value)
    assert "\n" not in str(error.value)


def test_real_photos_with_and_without_instance_masks(shared_data):
    items = open_instances([shared_data / "voc2012"], "train") + open_instances([shared_data / "voc2012"], "val")
    assert len(items) == 77
    exact = [item for item in items if item.instances is not None]
    assert len(exact) == 3
    for item in exact:
        labelled = read_instances(item)
        raw = read_labels(item.instances)
        np.testing.assert_array_equal(labelled.instances, raw)
        assert {0} < set(np.unique(labelled.classes)) <= {*range(21), VOID}
        objects = (labelled.instances > 0) & (labelled.instances != VOID)
        assert (labelled.classes[objects] > 0).all()


# The stream


def reader(corpus: Path, **changes) -> InstanceReader:
    settings = {
        "sets": [open_instances([corpus], "train")],
        "transform": SemanticTransform(64, 0.5, 1.5, 48, heavy=True),
        "points": 60,
        "batch_size": 4,
        "seed": 5,
    }
    return InstanceReader(**(settings | changes))


def take(batches, count: int) -> list:
    return [next(batches) for _ in range(count)]


def assert_equal(first, second) -> None:
    for name in ("images", "classes", "points", "owners", "exact"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0)


def test_a_stream_goes_on_anywhere_and_with_any_number_of_readers(corpus):
    whole = take(reader(corpus).batches(0, 0), 5)
    for later, batch in zip(take(reader(corpus).batches(0, 3), 2), whole[3:], strict=True):
        assert_equal(later, batch)
    for parallel, batch in zip(take(reader(corpus).batches(2, 1), 3), whole[1:4], strict=True):
        assert_equal(parallel, batch)
    assert not torch.equal(whole[0].images, whole[1].images)


def test_two_processes_read_what_one_of_twice_the_batch_reads(corpus):
    whole = reader(corpus).batch(1)
    for rank in range(2):
        part = reader(corpus, batch_size=2, rank=rank, world_size=2).batch(1)
        torch.testing.assert_close(part.images, whole.images[2 * rank : 2 * rank + 2], rtol=0, atol=0)
        torch.testing.assert_close(part.points, whole.points[2 * rank : 2 * rank + 2], rtol=0, atol=0)


def test_sets_are_drawn_from_in_turn_and_each_is_dealt_out_whole(corpus):
    """Six images beside three: of 12 draws from both, every image of the first comes once, of the second twice."""
    whole = SemanticTransform(64, 1.0, 1.0, 96, heavy=False)
    both = [open_instances([corpus], split) for split in ("train", "val")]
    batch = reader(corpus, sets=both, transform=whole, batch_size=12).batch(0)
    alone = [reader(corpus, sets=[items], transform=whole, batch_size=6).batch(0) for items in both]
    areas = lambda images: sorted(int((image > 0).sum()) for image in images)
    first, second = batch.classes[::2], batch.classes[1::2]
    assert areas(first) == areas(alone[0].classes)
    assert areas(second) == areas(alone[1].classes)
    assert len(set(areas(second))) == 3


def test_points_are_shared_out_evenly_and_lie_in_their_instance():
    instances = np.zeros((20, 30), np.int32)
    instances[3:5, 3:5], instances[8:18, 10:28], instances[:, 29] = 1, 7, VOID
    points = sample_points(instances, 90, np.random.default_rng(0))
    owners, counts = np.unique(instances[points[:, 0], points[:, 1]], return_counts=True)
    assert owners.tolist() == [0, 1, 7]
    assert counts.tolist() == [30, 30, 30]
    nothing = sample_points(np.full((4, 4), VOID, np.int32), 9, np.random.default_rng(0))
    assert nothing.shape == (9, 2)


def test_owners_are_those_of_the_crops_pixels(corpus):
    batch = reader(corpus).batch(0)
    classes = batch.classes[torch.arange(4)[:, None], batch.points[..., 0], batch.points[..., 1]]
    assert ((classes == 0) == (batch.owners == 0)).all()
    assert ((classes == VOID) == (batch.owners == NOBODY)).all()
    assert batch.exact.all()


def test_the_crop_keeps_image_class_and_instance_together():
    """An image whose pixels are its labels, at a scale that keeps it and beyond its border: nothing comes apart."""
    rng = np.random.default_rng(4)
    instances = rng.integers(0, 5, (40, 50)).astype(np.int32)
    classes = np.array([0, 2, 2, 9, 9], np.uint8)[instances]
    image = np.repeat((instances * 20).astype(np.uint8)[..., None], 3, axis=2)
    for seed in range(8):
        transform = SemanticTransform(40, 1.0, 1.0, 45, heavy=False)
        crop = augment(Labelled(image, classes, instances, True), transform, np.random.default_rng(seed))
        seen = crop.instances != VOID
        assert crop.image.shape == (45, 45, 3)
        assert seen.sum() == 40 * 45
        np.testing.assert_array_equal(crop.image[seen][:, 0], crop.instances[seen] * 20)
        np.testing.assert_array_equal(crop.classes[seen], np.array([0, 2, 2, 9, 9])[crop.instances[seen]])
        assert (crop.classes[~seen] == VOID).all()


def test_a_damaged_image_is_named_also_by_a_reader_in_another_process(tmp_path):
    root = make_root(tmp_path / "set", halves(0, 1), halves(0, 1), "cat")
    (root / "JPEGImages/one.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"one\.jpg: not a readable image"):
        take(reader(root).batches(1, 0), 1)
