"""The training stream of images with instances: augmented crops, and pixels sampled from every instance of a crop.

Batch n of a rank is a function of (seed, n, rank) alone (amd.data.labelled.batches). Sets of images are drawn from in
turn, however large they are; an epoch of a set deals every image of it out once. Layered images, which need no label,
stand between them as often as is asked for; each is new.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from amd.data.benchmarks.instances import VOID, InstanceImage, Labelled, read_instances
from amd.data.labelled.batches import dealt, numbered_batches
from amd.data.labelled.transforms import SemanticTransform
from amd.data.synthetic.layer_textures import Textures, load_textures
from amd.data.synthetic.layered_images import draw_image

ORDER, AUGMENTATION = 3, 4  # draws that must not repeat one another, nor those of other readers
NOBODY = -1  # the owner of a pixel whose instance is not known
SHIFT = 1 << 32  # sets classes apart from instances in one number
WIDE = 16 / 9  # of a layered image: its width by its height


@dataclass(frozen=True)
class InstanceBatch:
    """Crops with their truth, and sampled pixels."""

    images: Tensor  # uint8 B,crop,crop,3
    classes: Tensor  # uint8 B,crop,crop: 0 background, VOID
    points: Tensor  # int64 B,P,2: row and column
    owners: Tensor  # int64 B,P: the instance at each point, NOBODY for none
    exact: Tensor  # bool B: whether instances of one class are known to differ


@dataclass(frozen=True)
class LayeredImages:
    """The layered images of a training: a share of all its images, with textures of a folder (None: built-in ones)."""

    share: float
    textures: str | None

    def before(self, place: int) -> int:
        """How many of the first `place` images are layered: they are spread evenly."""
        return int(place * self.share)

    def draw(self, number: int, seed: int, height: int) -> Labelled:
        """Image `number` of an endless series; UserError when the textures cannot be read."""
        return draw_image(_textures(self.textures), (seed, number), (height, round(WIDE * height)))


@lru_cache(maxsize=1)
def _textures(folder: str | None) -> Textures:
    """Read once in each process: they are too many to be handed from one to another."""
    return load_textures(folder, drawn=0.0)


@dataclass(frozen=True)
class InstanceReader:
    """What the batches of one process are made of."""

    sets: Sequence[Sequence[InstanceImage]]
    transform: SemanticTransform
    points: int  # sampled in an image
    batch_size: int  # of this process
    seed: int
    rank: int = 0
    world_size: int = 1
    layered: LayeredImages = LayeredImages(0.0, None)

    def batches(self, num_workers: int, start: int) -> Iterator[InstanceBatch]:
        """The endless stream from batch `start` on; UserError for an image that cannot be read."""
        return numbered_batches(self.batch, num_workers, start)

    def batch(self, number: int) -> InstanceBatch:
        """Batch `number` of this process."""
        first = (number * self.world_size + self.rank) * self.batch_size
        crops, points = zip(*(self._sample(place) for place in range(first, first + self.batch_size)), strict=True)
        owners = [owners_at(crop.instances, rows) for crop, rows in zip(crops, points, strict=True)]
        return InstanceBatch(
            images=torch.from_numpy(np.stack([crop.image for crop in crops])),
            classes=torch.from_numpy(np.stack([crop.classes for crop in crops])),
            points=torch.from_numpy(np.stack(points)),
            owners=torch.from_numpy(np.stack(owners)),
            exact=torch.tensor([crop.exact for crop in crops]),
        )

    def _sample(self, place: int) -> tuple[Labelled, np.ndarray]:
        """The augmented image at a place of the endless order, and its sampled pixels P,2."""
        rng = np.random.default_rng((AUGMENTATION, self.seed, place))
        crop = augment(self._image(place), self.transform, rng)
        return crop, sample_points(crop.instances, self.points, rng)

    def _image(self, place: int) -> Labelled:
        """The image at a place: layered, or of the set whose turn it is."""
        drawn = self.layered.before(place)
        if self.layered.before(place + 1) > drawn:
            return self.layered.draw(drawn, self.seed, self.transform.short_edge)
        turn, number = divmod(place - drawn, len(self.sets))
        items = self.sets[number]
        return read_instances(items[dealt(turn, len(items), self.seed, ORDER)])


def augment(labelled: Labelled, transform: SemanticTransform, rng: np.random.Generator) -> Labelled:
    """The crop that `transform` makes; VOID where it reaches beyond the image."""
    both = labelled.classes.astype(np.int64) * SHIFT + labelled.instances
    codes, inverse = np.unique(both, return_inverse=True)  # one map for the transform: class and instance together
    index = inverse.reshape(both.shape).astype(np.int32) + VOID + 1  # VOID is what lies beyond the image
    image, index = transform(labelled.image, index, rng)
    values = np.where(index == VOID, VOID * SHIFT + VOID, codes[np.maximum(index - VOID - 1, 0)])
    return Labelled(image, (values // SHIFT).astype(np.uint8), (values % SHIFT).astype(np.int32), labelled.exact)


def sample_points(instances: np.ndarray, points: int, rng: np.random.Generator) -> np.ndarray:
    """Rows and columns int64 points,2 of pixels, as many from each instance (background too) as from any other.

    VOID is drawn only where there is nothing else; a small instance's pixels are drawn more than once.
    """
    places = [np.flatnonzero(instances == number) for number in np.setdiff1d(instances, [VOID])]
    if not places:
        places = [np.arange(instances.size)]
    drawn = [rng.choice(places[point % len(places)]) for point in range(points)]
    return np.stack(np.unravel_index(drawn, instances.shape), axis=1)


def owners_at(instances: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The instance int64 P at each of `points` P,2 of a map H,W, NOBODY where it is VOID."""
    owners = instances[points[:, 0], points[:, 1]].astype(np.int64)
    owners[owners == VOID] = NOBODY
    return owners
