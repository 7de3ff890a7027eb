"""Embedding drift and the experiments' scores, by hand and against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amd.evaluation.embedding_drift import POINTS, STEPS, Sides, annotated_points, drift_of, relative_curves
from amd.evaluation.metrics import mean_over
from amd.evaluation.published import PUBLISHED
from amd.evaluation.transfer import EXPERIMENTS, format_report


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_drift_is_that_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    sides = [rng.normal(size=(int(rng.integers(1, 8)), 3)).astype(np.float32) for _ in range(4)]
    reference, later = Sides(*sides[:2]), Sides(*sides[2:])
    nearest = lambda point, others: min(float(np.linalg.norm(point - other)) for other in others)
    to_own = [nearest(point, reference.foreground) for point in later.foreground]
    to_other = [nearest(point, reference.background) for point in later.foreground]
    drift = drift_of(reference, later)
    assert drift["wrong_foreground"] == np.mean([a < b for a, b in zip(to_other, to_own, strict=True)])
    assert drift["foreground_distance"] == pytest.approx(np.mean(to_own), abs=1e-3)
    expected = np.mean([nearest(point, reference.background) for point in later.background])
    assert drift["background_distance"] == pytest.approx(expected, abs=1e-3)


def test_a_side_without_points_is_not_known():
    nothing = np.zeros((0, 1), np.float32)
    drift = drift_of(Sides(column(0), column(9)), Sides(nothing, column(8)))
    assert np.isnan([drift["wrong_foreground"], drift["foreground_distance"]]).all()
    assert drift["background_distance"] == 1
    drift = drift_of(Sides(nothing, column(9)), Sides(column(1), column(8)))
    assert drift["wrong_foreground"] == 1  # nearer to any background than to no foreground
    assert np.isnan(drift["foreground_distance"])


def test_a_grid_point_is_on_the_side_of_most_of_its_cell():
    truth = np.zeros((4, 8), bool)
    truth[:, :3] = True  # cells of 2x4: the first is covered by three quarters, the second by none
    embedding = np.arange(4.0, dtype=np.float32).reshape(2, 2, 1)
    sides = annotated_points(embedding, truth)
    np.testing.assert_array_equal(sides.foreground, column(0, 2))
    np.testing.assert_array_equal(sides.background, column(1, 3))


def test_large_sides_are_thinned_evenly():
    truth = np.zeros((60, 100), bool)
    truth[:, :50] = True
    embedding = np.arange(6000.0, dtype=np.float32).reshape(60, 100, 1)
    foreground, background = annotated_points(embedding, truth)
    assert len(foreground) == len(background) == POINTS
    assert (foreground[0, 0], foreground[-1, 0]) == (0, 5949)
    steps = np.diff(np.searchsorted(embedding[truth][:, 0], foreground[:, 0]))
    assert set(steps) <= {2, 3, 4}


def test_curves_are_linear_between_frames_and_pass_over_gaps():
    frames = [(0.0, {"a": 0.0, "b": np.nan}), (0.5, {"a": np.nan, "b": np.nan}), (1.0, {"a": 2.0, "b": np.nan})]
    curves = relative_curves(frames)
    np.testing.assert_allclose(curves["a"], 2 * STEPS)
    assert np.isnan(curves["b"]).all()


def test_means_are_key_by_key():
    scores = [{"x": {"J": 0.2, "F": None}}, {"x": {"J": 0.6, "F": 0.5}}]
    assert mean_over(scores) == {"x": {"J": pytest.approx(0.4), "F": 0.5}}
    assert mean_over([{"x": None}, {"x": None}]) == {"x": None}


def test_reports_read_as_a_table_with_the_papers_numbers():
    told = {
        "protocol": {"sequences": 6, "dataset": "davis2016"},
        "published": PUBLISHED["crf"],
        "mean": {"plain": {"J": 0.5, "F": 0.25}, "crf": {"J": 0.625, "F": None}},
    }
    lines = format_report("crf", told).splitlines()
    assert lines[0] == "crf: 6 sequences of davis2016"
    assert lines[1].split() == ["plain", "J", "0.500", "(paper", "0.758)", "F", "0.250", "(paper", "-)"]
    assert lines[2].split() == ["crf", "J", "0.625", "(paper", "0.785)", "F", "-", "(paper", "0.755)"]
    assert set(EXPERIMENTS) < set(PUBLISHED)
