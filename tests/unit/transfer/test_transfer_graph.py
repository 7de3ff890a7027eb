"""The embedding graph against brute force: minimax paths, geodesic cells, the region around the foreground seed."""

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amd.transfer.grid_graph import Edges, geodesic_regions, grid_edges, minimax_distances
from amd.transfer.tracks import initial_foreground

# Small integers: their distances on a line are exact, and many are equal or zero.
EMBEDDINGS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(1)), elements=st.integers(0, 6).map(float)
)


def neighbours(size: tuple[int, int], point: int) -> list[int]:
    row, column = divmod(point, size[1])
    near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [y * size[1] + x for y, x in near if 0 <= y < size[0] and 0 <= x < size[1]]


def length(embedding: np.ndarray, first: int, second: int) -> float:
    points = embedding.reshape(-1, embedding.shape[-1]).astype(np.float64)
    return float(np.sqrt(((points[first] - points[second]) ** 2).sum()))


def floyd_warshall(embedding: np.ndarray, join) -> np.ndarray:
    """Distances of all pairs, n,n, the lengths along a path being joined by `join` (sum, or the larger)."""
    size, count = embedding.shape[:2], embedding.shape[0] * embedding.shape[1]
    distances = np.full((count, count), np.inf)
    np.fill_diagonal(distances, 0)
    for point in range(count):
        for other in neighbours(size, point):
            distances[point, other] = length(embedding, point, other)
    for middle in range(count):
        distances = np.minimum(distances, join(distances[:, middle : middle + 1], distances[middle : middle + 1]))
    return distances


@given(EMBEDDINGS, st.data())
@settings(max_examples=60, deadline=None)
def test_minimax_is_floyd_warshalls(embedding, data):
    source = data.draw(st.integers(0, embedding.size - 1))
    found = minimax_distances(grid_edges(embedding), source)
    np.testing.assert_array_equal(found.ravel(), floyd_warshall(embedding, np.maximum)[source])


def test_minimax_of_real_valued_embeddings():
    embedding = np.random.default_rng(0).normal(size=(6, 7, 64)).astype(np.float32)
    expected = floyd_warshall(embedding, np.maximum)
    for source in (0, 17, 41):
        np.testing.assert_allclose(minimax_distances(grid_edges(embedding), source).ravel(), expected[source], 1e-5)


@given(EMBEDDINGS, st.data())
@settings(max_examples=60, deadline=None)
def test_regions_are_the_cells_of_the_nearest_seeds(embedding, data):
    count = embedding.size
    seeds = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=6, unique=True)))
    regions = geodesic_regions(grid_edges(embedding), seeds).ravel()
    distances = floyd_warshall(embedding, np.add)[seeds]  # exact: integers
    np.testing.assert_array_equal(distances[regions, np.arange(count)], distances.min(0))
    np.testing.assert_array_equal(regions[seeds], np.arange(len(seeds)))
    for number, seed in enumerate(seeds):
        assert reached(embedding.shape[:2], regions == number, int(seed)) == set(np.flatnonzero(regions == number))


def reached(size: tuple[int, int], cell: np.ndarray, start: int) -> set[int]:
    """Points of a cell that are joined to `start` within it."""
    found, waiting = {start}, [start]
    while waiting:
        for other in neighbours(size, waiting.pop()):
            if cell[other] and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def test_regions_of_real_valued_embeddings():
    embedding = np.random.default_rng(1).normal(size=(6, 7, 64)).astype(np.float32)
    seeds = np.array([3, 40, 20, 11])
    expected = floyd_warshall(embedding, np.add)[seeds].argmin(0)
    np.testing.assert_array_equal(geodesic_regions(grid_edges(embedding), seeds).ravel(), expected)


@given(EMBEDDINGS, st.data())
@settings(max_examples=60, deadline=None)
def test_the_first_foreground_is_nearer_to_its_seed_than_to_every_background_seed(embedding, data):
    """Eq. 11 as it reads, with a distance from every seed; the code searches from one."""
    points = st.integers(0, embedding.size - 1)
    seed, background = data.draw(points), np.array(data.draw(st.lists(points, max_size=5)), int)
    distances = floyd_warshall(embedding, np.maximum)
    expected = [
        all(distances[point, seed] < distances[point, other] for other in background) for point in range(embedding.size)
    ]
    found = initial_foreground(grid_edges(embedding), seed, background)
    np.testing.assert_array_equal(found.ravel(), expected)


def test_the_graph_has_no_other_edges():
    edges = grid_edges(np.zeros((3, 4, 1), np.float32))
    pairs = {tuple(sorted(pair)) for pair in zip(edges.first.tolist(), edges.second.tolist(), strict=True)}
    expected = {(p, q) for p, q in product(range(12), repeat=2) if p < q and q in neighbours((3, 4), p)}
    assert pairs == expected
    assert len(edges.first) == len(expected)
    assert isinstance(edges, Edges)
