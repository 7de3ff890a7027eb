"""Random changes of training frames, by hand."""

import numpy as np
import pytest
import torch

from amd.training.changes import Changes, change, paste, random_light, recolour


def test_recoloured_by_hand() -> None:
    image = torch.tensor([[0.2, 0.4], [0.4, 0.4], [0.6, 0.4]]).view(1, 3, 1, 2)
    halved = recolour(image, torch.tensor([[0.5, 1, 1, 1, 1, 1]]))
    assert torch.allclose(halved, image / 2)
    grey = recolour(image, torch.tensor([[1, 1, 0.0, 1, 1, 1]]))
    assert torch.allclose(grey, torch.full_like(grey, 0.4))
    red = recolour(image, torch.tensor([[1, 1, 1, 2.0, 1, 1]]))
    assert torch.allclose(red, image * torch.tensor([2.0, 1, 1]).view(1, 3, 1, 1))
    strong = recolour(image, torch.tensor([[1, 10.0, 1, 1, 1, 1]]))  # about the mean, 0.4, and cut at 0 and 1
    assert torch.allclose(strong, torch.tensor([[0, 0.4], [0.4, 0.4], [1, 0.4]]).view(1, 3, 1, 2))


def test_light_is_drawn_as_strongly_as_asked() -> None:
    light = random_light(4000, 0.3, np.random.default_rng(0))
    assert (light[:, 2] == 0).float().mean() == pytest.approx(0.1, abs=0.02)
    spread = light[light[:, 2] > 0].log().std(0)
    assert spread.tolist() == pytest.approx([0.3, 0.3, 0.3, 0.1, 0.1, 0.1], rel=0.1)


def test_objects_are_pasted_with_their_evidence() -> None:
    grey, black, white = (torch.full((3, 1, 4), value) for value in (0.5, 0.0, 1.0))
    evidence = torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.9, 0.2], [0.0, 0.0, 0.0, 0.0]])[:, None]
    images, known = paste(torch.stack((grey, black, white)), evidence, torch.tensor([True, False, True]))
    assert torch.equal(images[0], grey)  # nothing moves in the image before the first, which is the last
    assert torch.equal(images[1], black)
    assert images[2, 0, 0].tolist() == pytest.approx([1, 0.5, 0, 1])  # half covered at 0.5, not at all at 0.2
    assert torch.equal(known[:2], evidence[:2])
    assert known[2, 0].tolist() == pytest.approx([0, 0.5, 0.9, 0])


def test_what_lies_under_a_pasted_object_is_not_seen() -> None:
    evidence = torch.tensor([[1.0, 0.0], [0.0, 0.8]])[:, None]
    _, known = paste(torch.rand(2, 3, 1, 2), evidence, torch.tensor([True, True]))
    assert known[:, 0].tolist() == [[1, pytest.approx(0.8)], [1, pytest.approx(0.8)]]
    _, known = paste(torch.rand(2, 3, 1, 2), torch.tensor([[[0.6, 1.0]], [[0.5, 0.8]]]), torch.tensor([True, False]))
    assert known[0, 0].tolist() == pytest.approx([0.5, 0.8])  # half of 0.6 is left, and 0.5 is put there


def test_pairs_are_changed_alike_and_nothing_is_pasted_into_them() -> None:
    first = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    changes, twice = Changes(0.1, 0.3, 1.0), first.repeat(2, 1, 1, 1)
    images, evidence = change(twice, twice[:, 0], changes, np.random.default_rng(0), copies=2)
    assert torch.equal(images[:2], images[2:])
    lit, same = change(twice, twice[:, 0], Changes(colour=0.3), np.random.default_rng(0), copies=2)
    assert torch.equal(same, twice[:, 0])
    assert (lit - twice).abs().mean() > 0.02
    assert (evidence - twice[:, 0]).abs().mean() > 0.02
    assert not Changes()
