"""Similarity, edges, candidates, seeds and motion saliency (eqs. 1, 4 to 7) against brute force and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amd.transfer.saliency import background_seeds, motion_saliency, region_flow
from amd.transfer.seeds import candidates, choose_seeds, edge_map, similarity, squared_distances

GRIDS = st.tuples(st.integers(1, 8), st.integers(1, 8))
ROWS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(-4, 4).map(float)
)  # exact squares, many of them equal


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """R of eq. 1, written out."""
    return 2 / (1 + math.exp(float(((first.astype(float) - second.astype(float)) ** 2).sum())))


def test_similarity_by_hand():
    np.testing.assert_allclose(similarity(np.array([0, math.log(3), 1.0])), [1, 0.5, 2 / (1 + math.e)])
    assert similarity(np.array([1e6])) == 0


def test_distances_of_all_pairs():
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(7, 64)).astype(np.float32), rng.normal(size=(5, 64)).astype(np.float32)
    expected = [[((p - q) ** 2).sum() for q in others] for p in points]
    np.testing.assert_allclose(squared_distances(points, others), expected, rtol=1e-5)
    assert (squared_distances(points, points) >= 0).all()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_edge_map_is_the_largest_difference_to_a_neighbour(data):
    height, width = data.draw(GRIDS)
    embedding = data.draw(arrays.arrays(np.float32, (height, width, 2), elements=st.floats(-1, 1, width=32)))
    expected = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            values = [
                1 - alike(embedding[y, x], embedding[p]) for p in near if 0 <= p[0] < height and 0 <= p[1] < width
            ]
            expected[y, x] = max(values, default=0)
    np.testing.assert_allclose(edge_map(embedding), expected, atol=1e-6)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_candidates_are_least_in_their_window(data):
    height, width = data.draw(GRIDS)
    window = data.draw(st.sampled_from([3, 5, 9]))
    edges = data.draw(arrays.arrays(np.float32, (height, width), elements=st.integers(0, 4).map(float)))
    reach = window // 2
    expected = [
        y * width + x
        for y in range(height)
        for x in range(width)
        if edges[y, x] == edges[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].min()
    ]
    np.testing.assert_array_equal(candidates(edges, window), expected)
    assert expected  # the least of the frame always is one


@given(ROWS, st.integers(1, 12), st.data())
@settings(max_examples=80, deadline=None)
def test_each_seed_is_the_one_whose_largest_similarity_is_smallest(embeddings, count, data):
    number = len(embeddings)
    objectness = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=number, max_size=number)))
    chosen = choose_seeds(embeddings, objectness, count).tolist()
    assert len(set(chosen)) == len(chosen) == min(count, number)
    assert chosen[0] == objectness.tolist().index(objectness.max())
    for place in range(1, len(chosen)):
        # By distance: similarities fall with it, but those of far points are all zero in floating point.
        nearest = [
            min(int(((embeddings[i] - embeddings[j]) ** 2).sum()) for j in chosen[:place]) for i in range(number)
        ]
        left = [i for i in range(number) if i not in chosen[:place]]
        assert chosen[place] == max(left, key=lambda i: (nearest[i], -i))


def test_region_flow_is_the_mean_over_the_region():
    regions = np.array([[0, 0, 1], [2, 1, 1]])
    flow = np.stack([np.arange(6.0).reshape(2, 3), -np.ones((2, 3))], axis=2)
    np.testing.assert_allclose(region_flow(flow, regions, 3), [[0.5, -1], [11 / 3, -1], [3, -1]])


def test_the_background_is_of_least_objectness_and_at_most_half():
    objectness = np.array([0.9, 0.1, 0.5, 0.1, 0.0])
    np.testing.assert_array_equal(background_seeds(objectness, 30), [4, 1])
    np.testing.assert_array_equal(background_seeds(np.tile(objectness, 4), 3), [4, 9, 14])
    assert len(background_seeds(np.ones(1), 30)) == 0


def test_motion_saliency_by_hand():
    flows = np.array([[0, 0], [1, 0], [3, 4], [0, 2], [7, 0]])
    # Squared distances to the nearest of seeds 0 and 4: 0, 1, min(25, 32), 4, 0.
    np.testing.assert_allclose(motion_saliency(flows, np.array([0, 4])), np.array([0, 1, 25, 4, 0]) / 25)


@pytest.mark.parametrize("motion", [0.0, 1e-5])
def test_one_motion_is_no_saliency(motion):
    """A camera that pans: flow is the same everywhere, but for the rounding of means."""
    rng = np.random.default_rng(0)
    flows = np.tile([[10.1, -3.3]], (6, 1)) + motion * rng.normal(size=(6, 2))
    assert not motion_saliency(flows, np.array([1, 2])).any()
    assert not motion_saliency(flows, np.array([], int)).any()
