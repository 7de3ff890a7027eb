"""Tracks, their scores, the sets of seeds and the posterior (eqs. 8 to 15), by hand and against brute force."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amd.config.profiles import load_profile
from amd.transfer.posterior import at_image_size, foreground_probability
from amd.transfer.seeds import FrameSeeds
from amd.transfer.tracks import foreground_track, link_seeds, more_background, more_foreground, seed_sets, track_scores

SETTINGS = load_profile("paper").transfer


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_tracks_and_scores_are_those_of_a_plain_loop(data):
    counts = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    embeddings = [rng.integers(-5, 6, (count, 3)).astype(np.float32) for count in counts]
    objectness = [rng.random(count) for count in counts]
    saliency = [rng.random(count) + 0.01 for count in counts]
    tracks = link_seeds(embeddings)
    scores = {name: track_scores(tracks, objectness, saliency, name) for name in ("both", "motion", "objectness")}
    for start in range(counts[0]):
        seed, seeds = start, [start]
        for before, after in pairwise(embeddings):
            squared = [int(((after[other] - before[seed]) ** 2).sum()) for other in range(len(after))]
            seed = squared.index(min(squared))
            seeds.append(seed)
        assert tracks[:, start].tolist() == seeds
        o = [objectness[frame][seed] for frame, seed in enumerate(seeds)]
        m = [saliency[frame][seed] for frame, seed in enumerate(seeds)]
        assert scores["both"][start] == pytest.approx(np.mean(np.multiply(o, m)))
        assert scores["motion"][start] == pytest.approx(np.mean(m))
        assert scores["objectness"][start] == pytest.approx(np.mean(o))


def test_the_best_track_is_the_foreground_unless_nothing_speaks_for_it():
    tracks = np.array([[0, 1, 2], [3, 3, 1]])
    np.testing.assert_array_equal(foreground_track(tracks, np.array([0.1, 0.4, 0.4])), [1, 3])
    assert foreground_track(tracks, np.zeros(3)) is None


def test_where_nothing_moves_objectness_decides():
    tracks, objectness = np.array([[0, 1]]), [np.array([0.2, 0.7])]
    for ranking in ("both", "motion"):
        np.testing.assert_array_equal(track_scores(tracks, objectness, [np.zeros(2)], ranking), [0.2, 0.7])


def test_regions_covered_by_more_than_the_share_are_foreground():
    regions = np.array([[0, 0, 1, 1], [2, 2, 1, 1]])
    initial = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], bool)  # all, a half, a half
    np.testing.assert_array_equal(more_foreground(regions, initial, 2, 3, 0.5), [True, False, True])  # 2: the seed
    np.testing.assert_array_equal(more_foreground(regions, initial, 0, 3, 0.49), [True, True, True])


def test_little_objectness_or_little_motion_is_background():
    objectness, saliency = np.array([0.1, 0.3, 0.9, 0.9]), np.array([1.0, 0.5, 0.001, 0.01])
    np.testing.assert_array_equal(more_background(objectness, saliency, 0.3, 0.01), [True, False, True, False])
    np.testing.assert_array_equal(more_background(objectness, np.zeros(4), 0.3, 0.01), [True, False, False, False])


def frame_seeds(**changes) -> tuple[np.ndarray, FrameSeeds]:
    """A row of six points: an object of two (embedding 5 and 6) in a background of 0 and 1; every point is a seed."""
    embedding = np.array([[0, 1, 5, 6, 1, 0]], np.float32)[..., None]
    values = {
        "points": np.arange(6),
        "embeddings": embedding[0],
        "objectness": np.array([0.0, 0.2, 0.9, 0.6, 0.1, 0.8]),
        "saliency": np.array([0.5, 0.5, 0.9, 0.9, 0.5, 0.0]),
        "regions": np.arange(6)[None],
        "background": np.array([0, 4]),
    }
    return embedding, FrameSeeds(**values | changes)


def test_both_sets_by_hand():
    """From 2 the object is 1 away, everything else at least 4; 5 is an object, but stands still."""
    foreground, background = seed_sets(*frame_seeds(), 2, SETTINGS)
    np.testing.assert_array_equal(foreground, [2, 3])
    np.testing.assert_array_equal(background, [0, 1, 4, 5])


def test_what_grew_from_the_foreground_is_no_background():
    foreground, background = seed_sets(*frame_seeds(objectness=np.zeros(6)), 2, SETTINGS)
    np.testing.assert_array_equal(foreground, [2, 3])
    np.testing.assert_array_equal(background, [0, 1, 4, 5])


def test_without_background_by_cues_the_first_one_stays():
    cues = {"objectness": np.ones(6), "saliency": np.ones(6)}
    _, background = seed_sets(*frame_seeds(**cues), 2, SETTINGS)
    np.testing.assert_array_equal(background, [0, 4])
    _, background = seed_sets(*frame_seeds(**cues, background=np.array([2, 4])), 2, SETTINGS)
    np.testing.assert_array_equal(background, [4])  # the foreground's own seed was among the least


def test_the_posterior_by_hand():
    embedding = np.array([[[0.0, 0], [1, 0], [0, 2]]], np.float32)
    foreground, background = np.array([[0, 0], [9, 9]], np.float32), np.array([[1, 0], [0, 3]], np.float32)
    similar = lambda squared: 2 / (1 + math.exp(squared))
    expected = [
        similar(0) / (similar(0) + similar(1)),
        similar(1) / (similar(1) + similar(0)),
        similar(4) / (similar(4) + similar(1)),
    ]
    np.testing.assert_allclose(foreground_probability(embedding, foreground, background)[0], expected, rtol=1e-6)


def test_far_from_both_sides_the_nearer_one_wins():
    """Both similarities vanish in floating point; their ratio does not."""
    embedding = np.array([[[40.0], [41.0]]], np.float32)
    probability = foreground_probability(embedding, column(0), column(81))
    assert probability[0, 0] > 0.99
    assert probability[0, 1] < 0.01


def test_without_a_side_nothing_is_foreground():
    embedding, nothing = np.ones((2, 3, 4), np.float32), np.zeros((0, 4), np.float32)
    for sides in ((nothing, embedding[0]), (embedding[0], nothing)):
        np.testing.assert_array_equal(foreground_probability(embedding, *sides), 0)


def test_probabilities_are_enlarged_cell_by_cell():
    grid = np.array([[0.2, 0.8]], np.float32)
    enlarged = at_image_size(grid, (4, 8))  # centres of the cells at columns 1.5 and 5.5
    assert enlarged.shape == (4, 8)
    np.testing.assert_allclose(enlarged[0], [0.2, 0.2, 0.275, 0.425, 0.575, 0.725, 0.8, 0.8], atol=1e-6)
