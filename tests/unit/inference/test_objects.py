"""Objects told apart: drawn masks whose tracks are known."""

from collections.abc import Iterable

import numpy as np
import pytest

from amd.inference.objects import ObjectTracker
from amd.inference.selection import Point, choose, parse_point
from amd.runtime.errors import UserError

SIZE = (80, 160)
Disc = tuple[float, float, float]  # x, y, radius
FRONT, BACK = 1, 2


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def scene(discs: Iterable[Disc]) -> np.ndarray:
    return np.any([np.zeros(SIZE, bool), *(disc(*one) for one in discs)], axis=0)


def follow(frames: Iterable[Iterable[Disc]], **settings: int) -> list[np.ndarray]:
    tracker = ObjectTracker(**settings)
    return [tracker.track(scene(discs)) for discs in frames]


def at(ids: np.ndarray, x: float, y: float) -> int:
    return int(ids[round(y), round(x)])


def crossing(frame: int) -> list[Disc]:
    """Two discs of different sizes that pass through each other's way, at 4 and 3 pixels a frame."""
    return [(20 + 4 * frame, 36, 14), (140 - 3 * frame, 44, 11)]


def flow_of(before: list[Disc], after: list[Disc]) -> np.ndarray:
    """Where every pixel of `before` goes to; the first disc is in front, the background stands."""
    flow = np.zeros((*SIZE, 2), np.float32)
    for start, end in reversed(list(zip(before, after, strict=True))):
        flow[disc(*start)] = (end[0] - start[0], end[1] - start[1])
    return flow


@pytest.mark.parametrize("with_flow", [False, True])
def test_two_that_cross_come_out_with_the_ids_that_they_had(with_flow: bool) -> None:
    tracker, frames = ObjectTracker(), [crossing(frame) for frame in range(30)]
    ids = []
    for number, discs in enumerate(frames):
        flow = flow_of(frames[number - 1], discs) if with_flow and number else None
        ids.append(tracker.track(scene(discs), flow))
    touching = [number for number, (a, b) in enumerate(frames) if np.hypot(a[0] - b[0], a[1] - b[1]) < 25]
    assert touching
    for number, ((ax, ay, _), (bx, by, _)) in enumerate(frames):
        if number not in touching:
            assert (at(ids[number], ax, ay), at(ids[number], bx, by)) == (FRONT, BACK)
        assert np.array_equal(ids[number] > 0, scene(frames[number]))  # no pixel of the mask is lost
        assert set(np.unique(ids[number])) <= {0, FRONT, BACK}


def test_an_id_follows_uneven_motion_by_the_flow_alone() -> None:
    """Jumps longer than the discs: without flow nothing says which is which."""
    steps = [0, 0, 30, 30, -25, -25]
    frames = [[(30 + step, 20, 8), (60 + step, 20, 8)] for step in np.cumsum(steps)]
    tracker, plain, guesses = ObjectTracker(), ObjectTracker(), []
    for number, discs in enumerate(frames):
        flow = flow_of(frames[number - 1], discs) if number else None
        ids, guessed = tracker.track(scene(discs), flow), plain.track(scene(discs))
        assert (at(ids, *discs[0][:2]), at(ids, *discs[1][:2])) == (1, 2)
        guesses.append((at(guessed, *discs[0][:2]), at(guessed, *discs[1][:2])))
    assert set(guesses) != {(1, 2)}


@pytest.mark.parametrize("gone_for", [3, 10])
def test_one_that_disappears_and_comes_back_has_its_id(gone_for: int) -> None:
    hidden = range(8, 8 + gone_for)
    frames = [
        [(120 - frame, 60, 10)] + ([(20 + 3 * frame, 20, 9)] if frame not in hidden else []) for frame in range(25)
    ]
    ids = follow(frames)
    first, later = at(ids[0], 20, 20), at(ids[24], 20 + 3 * 24, 20)
    assert first == later != 0
    assert all(at(found, 120 - frame, 60) == at(ids[0], 120, 60) for frame, found in enumerate(ids))
    assert {number for found in ids for number in np.unique(found)} == {0, 1, 2}


def test_one_that_comes_back_too_late_elsewhere_or_in_another_size_is_new() -> None:
    def last_id(back: Disc, gone_for: int) -> int:
        frames = [[(30, 40, 9)]] * 4 + [[]] * gone_for + [[back]]
        return int(follow(frames, memory=10)[-1].max())

    assert last_id((34, 40, 9), 10) == 1
    assert last_id((34, 40, 9), 12) == 2
    assert last_id((130, 40, 9), 5) == 2
    assert last_id((34, 40, 20), 5) == 2


def test_one_that_was_moving_may_come_back_where_it_vanished() -> None:
    frames = [[(20 + 6 * frame, 40, 7)] for frame in range(6)] + [[]] * 12 + [[(50, 40, 7)]]
    assert follow(frames)[-1].max() == 1


def test_a_part_that_hardly_touches_where_an_object_was_is_new_at_once() -> None:
    frames = [[(50, 40, 14)], [(42, 40, 12), (71, 40, 10)]]
    assert (scene(frames[0]) & disc(*frames[1][1])).any()
    assert at(follow(frames)[1], 71, 40) == 2


def split(frame: int) -> list[Disc]:
    """One disc from which a smaller one comes out, to the right, from frame 5 on apart."""
    apart = max(0, frame - 2) * 5
    return [(50, 40, 14), (50 + apart, 40, 8)]


def test_the_larger_piece_of_a_split_keeps_the_id_and_the_other_gets_one_after_a_while() -> None:
    ids = follow([split(frame) for frame in range(20)], patience=4)
    apart = [frame for frame in range(20) if (frame - 2) * 5 > 22]
    assert all(at(found, 50, 40) == 1 for found in ids)
    pieces = [at(ids[frame], *split(frame)[1][:2]) for frame in apart]
    assert pieces == [1] * 4 + [2] * (len(apart) - 4)


def test_a_piece_that_comes_back_was_none() -> None:
    there = [split(frame) for frame in range(9)]
    ids = follow([*there, *there[::-1], *there[:2]] * 2, patience=6)
    assert {number for found in ids for number in np.unique(found)} == {0, 1}


def test_what_is_left_of_a_split_object_keeps_its_id() -> None:
    """The larger piece vanishes while the other bears the id still."""
    frames = [split(frame) for frame in range(9)] + [[(50 + 5 * frame, 40, 8)] for frame in range(7, 14)]
    assert {number for found in follow(frames, patience=4) for number in np.unique(found)} == {0, 1}


def test_parts_that_are_too_small_are_no_objects() -> None:
    frames = [[(30, 40, 10), (100, 40, 2)]] * 3
    assert [set(np.unique(found)) for found in follow(frames, min_area=20)] == [{0, 1}] * 3
    assert [set(np.unique(found)) for found in follow(frames, min_area=5)] == [{0, 1, 2}] * 3
    assert set(np.unique(follow([[(30, 40, 10), (100, 40, 1)]])[0])) == {0, 1}  # 5 of 12800 pixels


def test_ids_are_not_used_twice_and_end_at_255() -> None:
    """Dots that come and go far from each other; 300 of them."""
    tracker, shown = ObjectTracker(min_area=1, memory=0), []
    for number in range(300):
        mask = np.zeros(SIZE, bool)
        mask[10 + 40 * (number % 2), 10 + 100 * (number % 2)] = True
        shown.append(int(tracker.track(mask).max()))
    assert shown == [*range(1, 256), *[0] * 45]
    assert tracker.left_out == 45


def test_what_is_kept_does_not_grow() -> None:
    tracker = ObjectTracker(min_area=1, memory=3)
    rng = np.random.default_rng(0)
    for _ in range(40):
        tracker.track(scene([(*rng.integers(5, 75, 2), 4) for _ in range(3)]))
    assert len(tracker._tracks) <= 3 * (3 + 2)


def test_masks_of_other_sizes_or_types_are_refused() -> None:
    tracker = ObjectTracker()
    tracker.track(np.zeros(SIZE, bool))
    with pytest.raises(ValueError, match=r"bool \(80, 80\) where one bool \(80, 160\)"):
        tracker.track(np.zeros((80, 80), bool))
    with pytest.raises(ValueError, match="uint8"):
        tracker.track(np.zeros(SIZE, np.uint8))


def times_and_ids() -> list[tuple[float, np.ndarray]]:
    """Object 1 stays at the left; object 2 is at the right at first, from 0.2 seconds on below."""
    first, second = (np.zeros((40, 60), np.uint8) for _ in range(2))
    first[5:15, 5:15] = second[5:15, 5:15] = 1
    first[5:15, 40:50] = second[28:38, 40:50] = 2
    return [(0.0, first), (0.1, first), (0.2, second), (0.3, second)]


@pytest.mark.parametrize(
    ("keep", "drop", "expected"),
    [
        ([Point(42, 7, 0.0)], [], {2}),
        ([Point(42, 7, 0.19)], [], {2}),  # the frame of 0.1 is shown until 0.2
        ([Point(42, 30, 0.2)], [], {2}),
        ([Point(42, 27, 0.2)], [], {2}),  # a pixel above it
        ([Point(42, 30, 0.3)], [], {2}),
        ([Point(42, 30, 0.35), Point(6, 6, 0.1)], [], {1, 2}),
        ([], [Point(6, 6, 0.0)], {2}),
        ([Point(42, 7, 0.0), Point(6, 6, 0.0)], [Point(42, 30, 0.2)], {1}),
        ([], [], {1, 2}),
    ],
)
def test_points_choose_the_objects_at_them(keep: list[Point], drop: list[Point], expected: set[int]) -> None:
    frames = times_and_ids()
    selection = choose(iter(frames), keep, drop)
    for _, ids in frames:
        assert np.array_equal(selection.ids(ids), np.where(np.isin(ids, list(expected)), ids, 0))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (Point(42, 30, 0.1), r"--keep 42,30@0\.1: no object at that point; objects there: x 5 to 14, y 5 to 14; x 40"),
        (Point(60, 3, 0.0), "outside the frame of 60x40 pixels"),
        (Point(6, 6, 9.0, "--drop"), r"--drop 6,6@9: the video ends at 0\.30 seconds"),
    ],
)
def test_a_point_that_means_nothing_is_named(point: Point, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(times_and_ids(), [point], [])


def test_no_object_in_any_frame_is_said() -> None:
    with pytest.raises(UserError, match="there is none in that frame"):
        choose([(0.0, np.zeros((4, 4), np.uint8))], [Point(1, 1, 0.0)], [])


def test_points_are_parsed() -> None:
    assert parse_point("120,80@1.5", "--drop") == Point(120, 80, 1.5, "--drop")
    assert parse_point(" 0,0@0 ", "--keep") == Point(0, 0, 0.0)
    for text in ("", "1,2", "1;2@3", "-1,2@3", "1,2@-3", "1,2@nan", "1,2@1e999", "1.5,2@3", "١,2@3"):
        with pytest.raises(UserError, match=r"--keep .*: not a point; give x,y@seconds"):
            parse_point(text, "--keep")
