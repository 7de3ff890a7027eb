"""Whole videos: the object found by embeddings, objectness and flow; adaptation; frames on disk; odd videos."""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from amd.config.profiles import load_profile
from amd.runtime.errors import UserError
from amd.transfer.frame import FrameFeatures, frame_features, keep, kept, to_grid
from amd.transfer.posterior import at_image_size, foreground_probability, with_prior
from amd.transfer.seeds import find_seeds
from amd.transfer.tracks import seed_sets
from amd.transfer.video import choose_foreground, segment_video

PAPER = load_profile("paper")
SETTINGS = PAPER.transfer.model_copy(update={"window": 3, "seeds": 20, "background_seeds": 4, "crf": False})
GRID, CELL = (18, 24), 4  # grid points, and pixels of the image to one of them
SIZE = (GRID[0] * CELL, GRID[1] * CELL)
RNG = np.random.default_rng(0)
MOVER, STANDER, SCENERY = RNG.normal(size=(3, 8)).astype(np.float32) * 1.5


def places(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Grid masks of the object, which moves a cell a frame, and of another one, which stands still."""
    moving, standing = np.zeros(GRID, bool), np.zeros(GRID, bool)
    moving[3:9, 2 + number : 9 + number] = True
    standing[11:16, 14:21] = True
    return moving, standing


def frame(number: int, drift: float = 0.0) -> FrameFeatures:
    """Embeddings of three things with a little noise, which all drift from the object's place to the scenery's."""
    moving, standing = places(number)
    rng = np.random.default_rng(number)
    embedding = np.where(moving[..., None], MOVER, np.where(standing[..., None], STANDER, SCENERY))
    embedding = (embedding + drift * number * (SCENERY - MOVER) + rng.normal(0, 0.05, embedding.shape)).astype(
        np.float32
    )
    flow = np.repeat(np.repeat(np.where(moving[..., None], [4.0, 0], 0), CELL, 0), CELL, 1)
    objectness = np.where(moving | standing, 0.9, 0.05)
    image = np.repeat(np.repeat(np.where(moving, 200, 60).astype(np.uint8)[..., None].repeat(3, 2), CELL, 0), CELL, 1)
    return frame_features(image, embedding, objectness, flow.astype(np.float32) + 0.01)


def video(count: int, drift: float = 0.0) -> list[FrameFeatures]:
    return [frame(number, drift) for number in range(count)]


def segment(frames: list[FrameFeatures], **changes) -> list[np.ndarray]:
    return [result.mask for result in segment_video(iter(frames), SETTINGS.model_copy(update=changes), PAPER.crf)]


def overlap(mask: np.ndarray, number: int, which: int = 0) -> float:
    truth = np.repeat(np.repeat(places(number)[which], CELL, 0), CELL, 1)
    return float((mask & truth).sum() / (mask | truth).sum())


def test_the_moving_object_is_found_beside_one_that_stands():
    for number, mask in enumerate(segment(video(5))):
        assert mask.shape == SIZE
        assert overlap(mask, number) > 0.9


def test_the_crf_gives_the_images_edges():
    frames = video(3)
    refined = segment(frames, crf=True)
    for number, mask in enumerate(refined):
        assert overlap(mask, number) > 0.97


def test_ranking_by_objectness_may_take_the_other():
    """The stander is the surer object here; motion says otherwise."""
    frames = [replace(f, objectness=np.where(places(n)[1], 1, f.objectness)) for n, f in enumerate(video(4))]
    for number, mask in enumerate(segment(frames, ranking="objectness", min_motion=0.0)):
        assert overlap(mask, number, which=1) > 0.9
    for number, mask in enumerate(segment(frames, ranking="both")):
        assert overlap(mask, number) > 0.9


def by_hand(frames: list[FrameFeatures], renewed: list[int]) -> list[np.ndarray]:
    """The probabilities when the sets of seeds are taken from the frames `renewed`, one number per frame."""
    seeds = [find_seeds(f, SETTINGS) for f in frames]
    chosen = choose_foreground(seeds, SETTINGS)
    sets = [seed_sets(f.embedding, s, int(c), SETTINGS) for f, s, c in zip(frames, seeds, chosen, strict=True)]
    sides = [[seeds[n].embeddings[side] for side in sets[n]] for n in range(len(frames))]
    return [
        at_image_size(foreground_probability(f.embedding, *sides[n]), SIZE)
        for f, n in zip(frames, renewed, strict=True)
    ]


@pytest.mark.parametrize(
    ("every", "renewed"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 2, 2, 4, 4]), (4, [0, 0, 0, 0, 4, 4]), (0, [0] * 6)]
)
def test_seeds_are_renewed_every_k_frames(every, renewed):
    frames = video(6, drift=0.1)
    settings = SETTINGS.model_copy(update={"adapt_every": every})
    found = [result.probability for result in segment_video(frames, settings, PAPER.crf)]
    for ours, expected in zip(found, by_hand(frames, renewed), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_adaptation_follows_what_drifts():
    frames = video(8, drift=0.12)
    adapted, never = segment(frames), segment(frames, adapt_every=0)
    assert overlap(adapted[7], 7) > 0.9
    assert overlap(never[7], 7) < overlap(adapted[7], 7)


def test_frames_come_back_from_disk_as_they_were():
    frames = video(3)
    file = io.BytesIO()
    assert len(list(keep(iter(frames), file))) == 3
    for first, second, theirs in zip(kept(file, 3), kept(file, 3), frames, strict=True):  # in turn
        for ours in (first, second):
            for name in ("image", "embedding", "objectness", "flow"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def with_evidence(number: int) -> FrameFeatures:
    """The same frame with evidence, which knows the mover; the network's objectness and the flow do not count."""
    moving, standing = places(number)
    return replace(frame(number), objectness=np.where(moving, 0.9, np.where(standing, 0.2, 0.05)), flow=None)


def test_evidence_says_which_seeds_are_the_objects():
    """Saliency is its mean over a region, the first background where it is least, the object where it is most."""
    seen = with_evidence(0)
    moving, standing = places(0)
    seeds = find_seeds(seen, SETTINGS)
    for number, saliency in enumerate(seeds.saliency):
        assert saliency == pytest.approx(seen.objectness[seeds.regions == number].mean())
    assert not (moving | standing).ravel()[seeds.points[seeds.background]].any()
    (chosen,) = choose_foreground([seeds], SETTINGS)
    foreground, background = seed_sets(seen.embedding, seeds, int(chosen), SETTINGS)
    assert moving.ravel()[seeds.points[foreground]].all()
    assert not moving.ravel()[seeds.points[background]].any()
    assert standing.ravel()[seeds.points[background]].any()  # its evidence is little


def test_with_evidence_the_mover_is_found_whatever_flow_says():
    frames = list(kept_and_read([with_evidence(number) for number in range(4)]))
    assert all(f.flow is None for f in frames)
    for number, mask in enumerate(segment(frames)):
        assert overlap(mask, number) > 0.9


def test_evidence_is_the_posteriors_prior():
    """Odds of 4 under a prior of 1 to 4 are even, under half of it 2; evidence that is sure is kept in check."""
    probability = np.array([[0.8, 0.8, 0.5, 0.5]])
    evidence = np.array([[0.2, 0.5, 1.0, 0.0]])
    np.testing.assert_allclose(with_prior(probability, evidence, 1.0), [[0.5, 0.8, 0.98, 0.02]], rtol=1e-5)
    np.testing.assert_allclose(with_prior(probability, evidence, 0.5)[0, 0], 2 / 3, rtol=1e-5)
    np.testing.assert_allclose(with_prior(probability, evidence, 0.0), probability, rtol=1e-5)


def test_what_looks_like_the_object_and_stands_is_refused_by_a_strong_prior():
    seen = with_evidence(0)
    frames = [replace(seen, embedding=np.where(places(0)[1][..., None], MOVER, seen.embedding).astype(np.float32))]
    alike = np.repeat(np.repeat(places(0)[1], CELL, 0), CELL, 1)
    assert segment(frames, prior=0.0)[0][alike].mean() > 0.9
    assert segment(frames, prior=20.0)[0][alike].mean() < 0.1


def kept_and_read(frames: list[FrameFeatures]) -> Iterator[FrameFeatures]:
    file = io.BytesIO()
    assert len(list(keep(iter(frames), file))) == len(frames)
    return kept(file, len(frames))


def test_a_video_of_one_frame():
    """With flow it is as any other; without (a lone frame has none) objectness decides."""
    (mask,) = segment(video(1))
    assert overlap(mask, 0) > 0.9
    still = replace(frame(0), flow=np.zeros((*GRID, 2), np.float32))
    surer = np.where(places(0)[1], 1, still.objectness).astype(np.float32)
    (mask,) = segment([replace(still, objectness=surer)])
    assert mask[13 * CELL, 17 * CELL]  # the stander
    assert not mask[0, 0]


def test_no_frame_at_all_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="without frames"):
        segment([])


def test_a_frame_whose_only_candidate_is_one_point():
    """A slope in the embedding leaves one least edge: one seed, no background to compare with, an empty mask."""
    slope = np.cumsum(np.linspace(0.1, 1, GRID[0] * GRID[1]).reshape(GRID), axis=1)[..., None].repeat(8, 2)
    lone = replace(frame(0), embedding=slope.astype(np.float32))
    settings = SETTINGS.model_copy(update={"window": 99})
    assert len(find_seeds(lone, settings).points) == 1
    masks = segment([lone, frame(1), lone], window=99)
    assert [mask.shape for mask in masks] == [SIZE] * 3
    assert not masks[0].any()


def test_constant_frames_have_empty_masks():
    """Everything alike and nothing moving: no point is nearer to an object than to the background."""
    flat = FrameFeatures(
        np.full((*SIZE, 3), 90, np.uint8), np.ones((*GRID, 8), np.float32), np.full(GRID, 0.5, np.float32),
        np.zeros((*GRID, 2), np.float32),
    )  # fmt: skip
    for crf in (False, True):
        assert not any(mask.any() for mask in segment([flat] * 3, crf=crf))


def test_without_any_objectness_masks_are_empty():
    """All background: objectness is zero everywhere, so no track scores."""
    frames = [replace(f, objectness=np.zeros(GRID, np.float32)) for f in video(3)]
    assert not any(mask.any() for mask in segment(frames))
    for result in segment_video(frames, SETTINGS, PAPER.crf):
        assert result.probability.dtype == np.float32
        assert not result.probability.any()


def test_little_objectness_is_enough():
    """What counts is which seeds have more: the first background is of those with the least."""
    frames = [replace(f, objectness=0.1 * f.objectness) for f in video(3)]
    for number, mask in enumerate(segment(frames)):
        assert overlap(mask, number) > 0.9


def test_flow_of_another_size_is_refused():
    sound = frame(0)
    with pytest.raises(UserError, match=r"optical flow of 95x72 pixels for a frame of 96x72"):
        frame_features(sound.image, sound.embedding, sound.objectness, np.zeros((72, 95, 2), np.float32))


@pytest.mark.parametrize("name", ["embedding", "objectness", "optical flow"])
def test_values_that_are_not_finite_are_refused(name):
    values = {
        "embedding": frame(0).embedding.copy(),
        "objectness": frame(0).objectness.copy(),
        "optical flow": np.zeros((*SIZE, 2), np.float32),
    }
    values[name][0, 0] = np.nan
    with pytest.raises(UserError, match=f"^{name}: has values that are not finite"):
        frame_features(frame(0).image, *values.values())


def test_flow_and_objectness_are_averaged_over_cells():
    values = np.arange(24.0).reshape(4, 6)
    np.testing.assert_allclose(to_grid(values, (2, 3)), [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]])
    both = to_grid(np.stack([values, -values], 2), (2, 2))
    np.testing.assert_allclose(both[..., 1], -both[..., 0])
    assert to_grid(values > 11, (2, 3)).dtype == np.float32
