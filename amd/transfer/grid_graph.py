"""The embedding graph: 4-neighbour grid, edges as long as the embeddings differ (section 3.1); distances in it.

Input: an embedding h,w,D and seeds as flat indices. Output: geodesic Voronoi cells (sums of lengths, section 3.3) and
minimax distances (the longest edge of a path, section 3.4).
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra, minimum_spanning_tree


class Edges(NamedTuple):
    """The edges of a grid h,w: flat indices of both ends, and lengths."""

    first: np.ndarray  # E
    second: np.ndarray  # E
    lengths: np.ndarray  # E float64
    size: tuple[int, int]  # h, w


def grid_edges(embedding: np.ndarray) -> Edges:
    """The 4-neighbour graph of an embedding h,w,D: every edge once, as long as the Euclidean distance of its ends."""
    height, width = embedding.shape[:2]
    points = np.arange(height * width).reshape(height, width)
    across = np.linalg.norm(embedding[:, 1:] - embedding[:, :-1], axis=-1)
    down = np.linalg.norm(embedding[1:] - embedding[:-1], axis=-1)
    first = np.concatenate([points[:, :-1].ravel(), points[:-1].ravel()])
    second = np.concatenate([points[:, 1:].ravel(), points[1:].ravel()])
    lengths = np.concatenate([across.ravel(), down.ravel()]).astype(np.float64)
    return Edges(first, second, lengths, (height, width))


def geodesic_regions(edges: Edges, seeds: np.ndarray) -> np.ndarray:
    """The number of the geodesically nearest seed of every point, h,w: a partition into connected cells.

    A seed is in its own cell. Of seeds equally near, one is taken; the same every time.
    """
    graph = _graph(edges, edges.lengths)
    _, _, nearest = dijkstra(graph, directed=False, indices=seeds, min_only=True, return_predecessors=True)
    number = np.zeros(edges.size[0] * edges.size[1], np.int64)
    number[seeds] = np.arange(len(seeds))
    return number[nearest].reshape(edges.size)


def minimax_distances(edges: Edges, source: int) -> np.ndarray:
    """h,w: the length of the longest edge on the path from `source` whose longest edge is shortest.

    That path is the one in the minimum spanning tree. Trees are built of ranks, not lengths: SciPy takes an edge of
    length 0 for none.
    """
    order = np.argsort(edges.lengths, kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    tree = minimum_spanning_tree(_graph(edges, ranks)).tocoo()
    _, parents = breadth_first_order(tree.tocsr(), source, directed=False)
    parents[source] = source
    ends = tree.coords
    children = np.where(parents[ends[0]] == ends[1], *ends)
    longest = np.zeros(parents.size)
    longest[children] = edges.lengths[order[tree.data.astype(np.int64) - 1]]
    while (parents != source).any():  # every round doubles the piece of path behind a point
        longest = np.maximum(longest, longest[parents])
        parents = parents[parents]
    return longest.reshape(edges.size)


def _graph(edges: Edges, weights: np.ndarray) -> csr_array:
    points = edges.size[0] * edges.size[1]
    return csr_array((weights, (edges.first, edges.second)), shape=(points, points))
