"""Evidence and appearance joined into one mask, and the whole method for a video with evidence that is known."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import pytest
import torch

from amd.config.fused import FIT, Confidence, Fused
from amd.data.sizes import resized, small_size
from amd.evaluation.baselines import flow_outliers
from amd.inference.fused import FrameMask, Sample, flow_video, segment_video
from amd.inference.fusion import fuse, mean_of
from amd.models.amd import AMD, Architecture
from amd.models.evidence import EvidenceArchitecture, EvidenceInfo, EvidenceNetwork
from amd.motion.evidence import motion_evidence
from amd.motion.inputs import channels
from amd.motion.per_image import PerImage
from amd.motion.spool import Spool
from amd.motion.together import Evidence, both

PLAIN = Fused(crf=None, short_edge=24)
FEW = {"batch_size": 2, "short_edge": 24, "precision": "float32", "threads": 1}
QUICK = Fused(frames=8, short_edge=24, crf=None, iterations=60, fit=FIT.model_copy(update=FEW))


def picture(number: int, height: int = 48, width: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """A frame with a red box on grey noise that moves with the number, and the box's mask."""
    image = np.random.default_rng(number).integers(90, 130, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    left = 6 + (2 * number) % 40
    mask[14:34, left : left + 20] = True
    image[mask] = (220, 40, 40)
    return image, mask


class Known:
    """Evidence that is known, at half of the size, a frame late as that of a network is; and how often it was asked."""

    def __init__(self, evidence: Callable[[int], np.ndarray]) -> None:
        self.evidence = evidence
        self.asked = 0

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        count = 0
        for count, _ in enumerate(frames, 1):
            if count > 1:
                yield self.of(count - 2)
        if count:
            yield self.of(count - 1)

    def of(self, number: int) -> np.ndarray:
        self.asked += 1
        return resized(self.evidence(number).astype(np.float32), (24, 36))


def run(frames: int, observe: Evidence, settings: Fused = QUICK, method: str = "fused") -> list[FrameMask]:
    return list(segment_video(lambda: (picture(n)[0] for n in range(frames)), observe, settings, method))


def overlap(found: list[FrameMask]) -> float:
    truth = np.stack([picture(number)[1] for number in range(len(found))])
    masks = np.stack([frame.mask for frame in found])
    return float((masks & truth).sum() / (masks | truth).sum())


def half_seen(number: int) -> np.ndarray:
    """Evidence that misses the box in one frame of three, and that holds a piece of the scene in another."""
    evidence = picture(number)[1] * 0.9
    if number % 3 == 0:
        evidence[:] = 0.4
    elif number % 3 == 1:
        evidence[40:, 50:] = 0.9
    return evidence


def test_the_mean_of_opinions_by_hand() -> None:
    opinions = [(1.0, np.full((2, 3), 0.2, np.float32)), (3.0, np.full((4, 6), 0.8, np.float32))]
    assert mean_of(opinions).shape == (4, 6)
    assert np.allclose(mean_of(opinions), (0.2 + 3 * 0.8) / 4)
    soft = fuse(opinions, np.zeros((48, 72, 3), np.uint8), PLAIN)
    assert soft.shape == (48, 72)
    assert soft.dtype == np.float32
    assert np.allclose(soft, 0.65)


def test_independent_opinions_multiply_their_odds() -> None:
    first = np.array([[0.9, 0.9, 0.5, 0.2, 1.0]], np.float32)
    second = np.array([[0.9, 0.1, 0.7, 0.5, 0.0]], np.float32)
    assert np.allclose(both(first, second), [[81 / 82, 0.5, 0.7, 0.2, 0.5]])  # nobody alone is sure enough to decide
    assert both(np.full((2, 4), 0.5, np.float32), np.full((4, 8), 0.7, np.float32)) == pytest.approx(
        np.full((2, 4), 0.7)
    )


class Painted(AMD):
    """A model of single images that sees, in segment 1, what is red, as surely as `sure` says."""

    def __init__(self, sure: float, of: int = 0) -> None:
        super().__init__(Architecture("small", 2, 4, 0.1, "small", 64, 64))
        self.sure, self.of = sure, of

    def segment(self, images: torch.Tensor) -> torch.Tensor:
        red = (images[:, self.of] > 0.7).float() * (2 * self.sure - 1) + 1 - self.sure
        return torch.stack((1 - red, red), 1)


ALONE = QUICK.model_copy(update={"iterations": 0})


def reflected(number: int) -> np.ndarray:
    """Evidence of the box and, as large, of what moves along with it and is not red."""
    evidence = picture(number)[1] * 0.85
    evidence[36:48] = evidence[24:36]
    return evidence


def test_what_moves_has_to_look_like_an_object_too() -> None:
    """A reflection that moves along is left out; a model that sees nothing of what moves has no say."""
    per_image = lambda sure, of=0: PerImage(Painted(sure, of).eval(), 1, 24)
    frames = lambda: (picture(number)[0] for number in range(6))
    found = lambda model: list(segment_video(frames, Known(reflected), ALONE, "fused", model))
    assert overlap(found(per_image(0.95))) > 0.9
    alone = run(6, Known(reflected), ALONE, "motion")
    assert overlap(alone) < 0.75
    blind = found(per_image(0.95, of=1))  # to it nothing is an object
    assert all(np.array_equal(a.soft, b.soft) for a, b in zip(blind, alone, strict=True))


def test_a_model_sees_a_frame_upright_mirrored_and_larger() -> None:
    image, mask = picture(4)
    seen = PerImage(Painted(0.9).eval(), 1, 24).probability(image)
    assert seen.shape == (24, 36)
    assert seen.dtype == np.float32
    truth = resized(mask.astype(np.float32), (24, 36))
    assert np.abs(seen - (0.1 + 0.8 * truth))[(truth == 0) | (truth == 1)].max() < 0.45
    assert (seen > 0.5)[truth > 0.9].all()
    assert not (seen > 0.5)[truth == 0].any()
    mirrored = PerImage(Painted(0.9).eval(), 1, 24).probability(np.ascontiguousarray(image[:, ::-1]))
    assert np.allclose(mirrored[:, ::-1], seen, atol=0.02)


def test_the_crf_takes_a_mask_to_the_images_edge() -> None:
    image, truth = picture(3)
    shifted = np.roll(truth, 3, axis=1) * 0.8 + 0.1
    area = lambda settings: (fuse([(1.0, shifted.astype(np.float32))], image, settings) > 0.5) != truth
    without, smoothed = area(Fused(crf=None, short_edge=48)), area(Fused(short_edge=48))
    assert smoothed.sum() < 0.5 * without.sum()


def test_small_sizes_keep_the_shape_and_never_enlarge() -> None:
    assert small_size((480, 854, 3), 120) == (120, 214)
    assert small_size((1920, 1080), 120) == (213, 120)
    assert small_size((50, 60), 120) == (50, 60)
    assert resized(np.arange(12, dtype=np.float32).reshape(2, 6), (1, 3)).tolist() == [[3.5, 5.5, 7.5]]


@pytest.mark.parametrize(("method", "least", "most"), [("motion", 0.5, 0.75), ("amd", 0.8, 1), ("fused", 0.8, 1)])
def test_appearance_mends_what_evidence_misses(method: str, least: float, most: float) -> None:
    found = run(10, Known(half_seen), method=method)
    assert len(found) == 10
    assert all(frame.confidence.sure for frame in found)
    assert least < overlap(found) <= most
    for number, frame in enumerate(found):
        assert np.array_equal(frame.image, picture(number)[0])
        assert frame.soft.shape == frame.mask.shape == (48, 72)


def test_appearance_may_begin_with_a_model_that_is_there() -> None:
    torch.manual_seed(0)
    model = AMD(Architecture("small", 3, 4, 0.1, "small", 64, 64))
    frames = lambda: (picture(number)[0] for number in range(6))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = list(segment_video(frames, Known(half_seen), QUICK, "amd", start=(model, 2)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # it is left as it was
    assert overlap(found) > 0.6


def test_the_same_video_gives_the_same_masks() -> None:
    few = QUICK.model_copy(update={"iterations": 10, "confidence": Confidence(least_decided=0, least_agreement=0)})
    torch.manual_seed(1)
    first = run(4, Known(half_seen), few)
    torch.manual_seed(2)
    second = run(4, Known(half_seen), few)
    assert all(frame.confidence.sure for frame in first)
    assert all(np.array_equal(a.soft, b.soft) for a, b in zip(first, second, strict=True))


def test_evidence_is_computed_once_whatever_the_length() -> None:
    observe = Known(lambda number: picture(number)[1])
    assert len(run(20, observe, method="motion")) == 20
    assert observe.asked == 20


@pytest.mark.parametrize("frames", [1, 8, 9, 40, 333])
def test_a_sample_is_spread_evenly_over_any_length(frames: int) -> None:
    sample = Sample(8, 24)
    images = [np.full((48, 72, 3), number % 256, np.uint8) for number in range(frames)]
    assert all(seen is image for seen, image in zip(sample.watch(images), images, strict=True))
    numbers = list(sample.images)
    assert numbers == list(range(0, frames, sample.stride))
    assert min(frames, 5) <= len(numbers) <= 8
    for number, image in sample.images.items():
        assert image.shape == (24, 36, 3)
        assert (image == number % 256).all()


def test_the_spool_gives_back_what_was_added() -> None:
    maps = np.random.default_rng(0).random((5, 6, 7), dtype=np.float32)
    with Spool() as spool:
        for number, values in enumerate(maps):
            spool.add(values)
            assert np.abs(spool[number] - values).max() <= 0.5 / 255 + 1e-6
        assert len(spool) == 5
        assert np.abs(spool[1] - maps[1]).max() <= 0.5 / 255 + 1e-6
        with pytest.raises(IndexError):
            spool[5]


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (lambda number: np.zeros((48, 72)), "nothing moves on its own"),
        (lambda number: np.ones((48, 72)), "of the frame would be masked"),
        (lambda number: np.roll(np.eye(48, 72) > 0, 7 * number, 1), "nothing moves on its own"),
    ],
)
def test_a_video_without_an_object_gets_empty_masks_and_one_line(evidence: Callable, reason: str) -> None:
    endless = QUICK.model_copy(update={"iterations": 10**9})  # of a fit to what does not move there is no need
    found = run(6, Known(evidence), endless if reason.startswith("nothing") else QUICK)
    assert len(found) == 6
    for frame in found:
        assert not frame.mask.any()
        assert reason in frame.confidence.reason
        assert "\n" not in frame.confidence.reason


def test_a_frame_that_would_be_masked_all_over_is_refused_alone() -> None:
    flooded = lambda number: np.ones((48, 72)) if number == 5 else picture(number)[1]
    found = run(8, Known(flooded), method="motion")
    assert [frame.confidence.sure for frame in found] == [number != 5 for number in range(8)]
    assert not found[5].mask.any()
    assert found[5].soft.mean() > 0.5  # to be had all the same
    assert overlap(found[:5]) > 0.8


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_the_floor_is_the_baselines_mask_of_every_frame(frames: int) -> None:
    images = [picture(number)[0] for number in range(frames)]
    found = list(flow_video(images))
    assert all(image is given for (image, _), given in zip(found, images, strict=True))
    for number, (image, mask) in enumerate(found):
        other = number + 1 if number + 1 < frames else number - 1
        expected = flow_outliers(image, images[other]) if other >= 0 else np.zeros((48, 72), bool)
        assert np.array_equal(mask, expected)


def test_limits_are_settings() -> None:
    lenient = QUICK.model_copy(update={"confidence": Confidence(largest_area=1.0, least_decided=0, least_agreement=0)})
    found = run(4, Known(lambda number: np.ones((48, 72))), lenient, "motion")
    assert all(frame.mask.all() for frame in found)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_network_of_evidence_is_asked_as_it_answers(frames: int) -> None:
    torch.manual_seed(0)
    architecture = EvidenceArchitecture(channels(4), (4, 8))
    evidence = partial(
        motion_evidence, network=EvidenceNetwork(architecture).eval(), info=EvidenceInfo(architecture, (1, 2))
    )
    found = run(frames, evidence, QUICK.model_copy(update={"iterations": 2}))
    assert len(found) == frames
    assert all(np.array_equal(frame.image, picture(number)[0]) for number, frame in enumerate(found))
