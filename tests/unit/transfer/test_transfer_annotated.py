"""The semi-supervised mode: which regions an annotation picks, what they become, and annotations that are refused."""

import numpy as np
import pytest
from test_transfer_video import CELL, GRID, PAPER, SETTINGS, SIZE, frame, overlap, places, video

from amd.runtime.errors import UserError
from amd.transfer.frame import to_grid
from amd.transfer.seeds import find_seeds
from amd.transfer.semi_supervised import annotated_sides, segment_annotated


def enlarged(grid: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(grid, CELL, 0), CELL, 1)


def masks(frames: list, mask: np.ndarray, **changes) -> list[np.ndarray]:
    settings = SETTINGS.model_copy(update=changes)
    return [result.mask for result in segment_annotated(iter(frames), mask, settings, PAPER.crf)]


@pytest.mark.parametrize("which", [0, 1])
def test_the_annotated_object_is_followed_whether_it_moves_or_not(which):
    found = masks(video(5), enlarged(places(0)[which]))
    assert len(found) == 5
    for number, mask in enumerate(found):
        assert mask.shape == SIZE
        assert overlap(mask, number, which) > 0.9


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_both_sides_are_means_over_regions_written_out(share):
    """A mask that cuts through the object: regions above the share, by their covered part; those untouched, whole."""
    first, mask = frame(0), np.zeros(SIZE, bool)
    mask[3 * CELL : 7 * CELL + 1, CELL : 8 * CELL] = True  # its last row of cells is covered by a quarter
    settings = SETTINGS.model_copy(update={"overlap": share, "seeds": 80})
    regions, cover = find_seeds(first, settings).regions, to_grid(mask, GRID)
    foreground, background = [], []
    for number in range(regions.max() + 1):
        cells = regions == number
        if cover[cells].sum() > share * cells.sum():
            foreground.append((first.embedding[cells] * cover[cells][:, None]).sum(0) / cover[cells].sum())
        elif cover[cells].sum() == 0:
            background.append(first.embedding[cells].mean(0))
    assert foreground
    assert len(foreground) + len(background) < regions.max() + 1  # some are neither
    ours = annotated_sides(first, mask, settings)
    np.testing.assert_allclose(ours[0], foreground, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours[1], background, rtol=1e-4, atol=1e-5)


def test_an_object_smaller_than_its_region_is_the_mean_over_its_mask():
    first, mask = frame(0), np.zeros(SIZE, bool)
    mask[4 * CELL : 5 * CELL, 4 * CELL : 5 * CELL] = True  # one cell of an object of 42
    foreground, _ = annotated_sides(first, mask, SETTINGS.model_copy(update={"overlap": 0.95, "seeds": 3}))
    np.testing.assert_allclose(foreground, first.embedding[4, 4][None], rtol=1e-5)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((SIZE[0], SIZE[1] - 1), bool), "first-frame mask: 95x72 pixels for a frame of 96x72"),
        (np.zeros(SIZE, bool), "first-frame mask: it is empty"),
        (np.ones(SIZE, bool), "first-frame mask: it touches every region"),
    ],
)
def test_annotations_of_no_use_are_refused(mask, message):
    with pytest.raises(UserError, match=message):
        masks(video(2), mask)


def test_no_frame_at_all_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="without frames"):
        masks([], np.ones(SIZE, bool))
