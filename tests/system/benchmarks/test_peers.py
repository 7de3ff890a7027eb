"""Peers beside this package's methods: the score is the benchmark's, and every peer gives a mask a frame."""

from pathlib import Path

import numpy as np
import pytest
from layouts import write_davis

from amd.data.benchmarks.davis import davis2016
from benchmarks.peers import METHODS, measure

SIZE, FRAMES = (60, 80), 6


def box(number: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[20:40, 10 + 5 * number : 30 + 5 * number] = True
    return mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAVIS folder of one sequence: a bright textured box that moves 5 pixels a frame over still noise."""
    root, rng = tmp_path_factory.mktemp("davis"), np.random.default_rng(0)
    ground, thing = rng.integers(0, 120, (*SIZE, 3), np.uint8), rng.integers(130, 256, (20, 20, 3), np.uint8)
    frames = []
    for number in range(FRAMES):
        image = ground.copy()
        image[box(number)] = thing.reshape(-1, 3)
        frames.append((image, box(number)))
    return write_davis(root, "box", frames, "png")


def test_the_truth_scores_one_and_its_opposite_nothing(folder: Path) -> None:
    videos = davis2016(folder)
    assert measure(lambda frames: map(box, range(len(frames))), videos)[0] == 1
    assert measure(lambda frames: (~box(number) for number in range(len(frames))), videos)[0] == 0
    ends = {0, FRAMES - 1}  # are not scored
    assert measure(lambda frames: (box(n) ^ (n in ends) for n in range(len(frames))), videos)[0] == 1


@pytest.mark.parametrize("name", ["OpenCV MOG2", "OpenCV KNN", "--method flow", "GrabCut from the evidence"])
def test_a_peer_gives_a_mask_of_every_frame(name: str, folder: Path) -> None:
    frames = [box(number)[..., None].repeat(3, 2) * np.uint8(200) for number in range(FRAMES)]
    made = list(METHODS[name](frames))
    assert [mask.shape for mask in made] == [SIZE] * FRAMES
    assert all(mask.dtype == bool for mask in made)
