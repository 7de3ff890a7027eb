"""Layered images: each pixel's instance is the layer that it shows, and a seed gives the same image again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amd.config import InstanceCorpus
from amd.data.benchmarks.instances import VOID, open_instances
from amd.data.labelled.instance_reader import NOBODY, InstanceReader, LayeredImages
from amd.data.labelled.transforms import SemanticTransform
from amd.data.synthetic.instances import make_instance_corpus
from amd.data.synthetic.layer_textures import Textures
from amd.data.synthetic.layered_images import LEAST_SEEN, compose, draw_image
from amd.runtime.errors import UserError

SIZE = (72, 128)
CORPUS = InstanceCorpus(train_images=3, heldout_images=1, width=96, height=64, seed=0, workers=1)


class Plain(Textures):
    """Every layer in a colour of its own, in the order in which layers are drawn."""

    def __init__(self) -> None:
        self.colours: list[int] = []

    def thing(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        self.colours.append(20 + 30 * len(self.colours))
        return np.full((*size, 3), self.colours[-1], np.uint8)


def test_what_is_in_front_hides_what_is_behind():
    covers = [np.ones((4, 6), np.float32), np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)]
    covers[1][:, 1:4], covers[2][:, 3:5] = 1, 1
    covers[2][:, 2] = 0.25  # a soft edge, of which the layer behind shows more
    image, instances = compose([np.full((4, 6, 3), value, np.uint8) for value in (0, 100, 200)], covers)
    np.testing.assert_array_equal(instances, np.tile([0, 1, 1, 2, 2, 0], (4, 1)))
    np.testing.assert_array_equal(image[..., 0], np.tile([0, 100, 125, 200, 200, 0], (4, 1)))


@pytest.mark.parametrize("seed", range(6))
def test_the_pixels_of_an_instance_have_its_layers_texture(seed):
    textures = Plain()
    drawn = draw_image(textures, seed, SIZE)
    colours = np.array(textures.colours)
    known = drawn.instances != VOID
    nearest = np.abs(drawn.image[..., :1].astype(int) - colours).argmin(2)
    assert len(colours) >= 2
    assert set(np.unique(drawn.instances[known])) <= set(range(len(colours)))
    agree = nearest == drawn.instances
    edge = np.zeros(SIZE, bool)  # a mixture of two colours may look like a third
    edge[:, 1:] |= drawn.instances[:, 1:] != drawn.instances[:, :-1]
    edge[1:] |= drawn.instances[1:] != drawn.instances[:-1]
    edge[:, :-1] |= edge[:, 1:]
    edge[:-1] |= edge[1:]
    inside = known & np.isin(drawn.image[..., 0], colours)
    assert agree[inside & ~edge].all()
    assert inside.mean() > 0.6
    areas = np.bincount(drawn.instances[known])
    assert (areas[areas > 0] >= LEAST_SEEN * known.size).all()
    assert (drawn.classes == VOID).all()
    assert drawn.exact


def test_a_seed_gives_one_image():
    textures = Textures([np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)], drawn=0.0)
    first, again, other = (draw_image(textures, seed, SIZE) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.instances, again.instances)
    assert (first.image != other.image).any()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "instances"
    make_instance_corpus(folder, CORPUS)
    rng = np.random.default_rng(0)
    (folder.parent / "photos").mkdir()
    Image.fromarray(rng.integers(0, 256, (240, 320, 3), np.uint8)).save(folder.parent / "photos/noise.png")
    return folder


def reader(corpus: Path, share: float, images: int = 8) -> InstanceReader:
    return InstanceReader(
        [open_instances([corpus], "train")], SemanticTransform(64, 1.0, 1.0, 96, heavy=False), 40, images, seed=5,
        layered=LayeredImages(share, str(corpus.parent / "photos")),
    )  # fmt: skip


@pytest.mark.parametrize(("share", "layered"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_layered_images_are_a_share_of_the_batch_and_have_instances_without_classes(corpus, share, layered):
    batch = reader(corpus, share).batch(0)
    unlabelled = (batch.classes == VOID).flatten(1).all(1)
    assert unlabelled.sum() == layered
    assert batch.exact.all()
    assert layered == 0 or (batch.owners[unlabelled] != NOBODY).float().mean() > 0.95


def test_annotated_images_keep_their_order_beside_layered_ones(corpus):
    """Every image of the corpus twice, each whole; flips change no area."""
    alone, mixed = reader(corpus, 0.0, 6).batch(0), reader(corpus, 0.5, 12).batch(0)
    annotated = ~(mixed.classes == VOID).flatten(1).all(1)
    areas = lambda classes: [int(((values > 0) & (values != VOID)).sum()) for values in classes]
    assert areas(mixed.classes[annotated]) == areas(alone.classes)
    assert len(set(areas(alone.classes))) == 3


def test_textures_that_are_not_there_are_named(corpus):
    missing = InstanceReader([], SemanticTransform(64, 1.0, 1.0, 64, False), 40, 1, 5, layered=LayeredImages(1.0, "no"))
    with pytest.raises(UserError, match="no: no such folder"):
        next(missing.batches(1, 0))
