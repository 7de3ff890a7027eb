"""Terms of the objective against cases worked out by hand, and which of them are computed."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from amd.config.pipeline import Objective
from amd.models.amd import AMD, Architecture
from amd.training.losses import view_synthesis_loss
from amd.training.objective import (
    Batch,
    coherence_loss,
    consistency_loss,
    evidence_loss,
    objective,
    polynomial_basis,
    predict,
)


def weights(**terms: float) -> Objective:
    return Objective(**({"view_synthesis": 0.0} | terms))


@pytest.fixture(scope="module")
def model() -> AMD:
    torch.manual_seed(0)
    return AMD(Architecture("unet", 2, 1, 0.0, "small", 64, 64)).eval()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 24, 40, generator=generator)
    evidence = torch.rand(4, 24, 40, generator=generator)
    return Batch(images, evidence, torch.randn(4, 2, 24, 40, generator=generator))


def halves(height: int, width: int) -> torch.Tensor:
    """Two hard segments, left and right: 1,2,h,w."""
    left = torch.zeros(height, width)
    left[:, : width // 2] = 1
    return torch.stack((left, 1 - left))[None]


def test_view_synthesis_alone_is_the_papers_loss_to_the_bit(model: AMD, batch: Batch) -> None:
    settings = Objective()
    first, second = batch.images[:2], batch.images[2:]
    expected = view_synthesis_loss(model(first, second), first, second)
    assert torch.equal(objective(predict(model, batch.images, settings), batch, settings, 0), expected)


def test_the_motion_pathway_runs_for_view_synthesis_alone(model: AMD, batch: Batch) -> None:
    settings = weights(evidence=1.0, coherence=1.0, consistency=1.0)
    copy = AMD(model.architecture)
    copy.load_state_dict(model.state_dict())
    prediction = predict(copy, batch.images, settings)
    assert prediction.output is None
    objective(prediction, batch, settings, 1).backward()
    assert all(weight.grad is None for weight in copy.motion.parameters())
    assert all(weight.grad is not None for weight in copy.appearance.parameters())


def test_terms_are_summed_under_their_weights(model: AMD, batch: Batch) -> None:
    names = ("view_synthesis", "evidence", "coherence", "consistency")
    factors = dict(zip(names, (0.5, 2.0, 3.0, 4.0), strict=True))
    loss = lambda settings: objective(predict(model, batch.images, settings), batch, settings, 1).item()
    apart = sum(factor * loss(weights(**{name: 1.0})) for name, factor in factors.items())
    assert loss(Objective(**factors)) == pytest.approx(apart, rel=1e-5)


def test_a_weight_without_its_data_is_an_error(model: AMD, batch: Batch) -> None:
    settings = weights(evidence=1.0)
    with pytest.raises(ValueError, match="lacks"):
        objective(predict(model, batch.images, settings), Batch(batch.images), settings, 1)
    with pytest.raises(ValidationError, match="nothing to learn"):
        weights()


def test_evidence_by_hand() -> None:
    mask = torch.tensor([[[0.8, 0.1, 0.5]]])
    evidence = torch.tensor([[[1.0, 0.25, 0.5]]])
    # weights 1, 0.5 and 0: the third pixel says nothing in the cross-entropy
    entropy = -math.log(0.8) + 0.5 * -(0.25 * math.log(0.1) + 0.75 * math.log(0.9))
    dice = 1 - (2 * (0.8 + 0.025 + 0.25) + 1) / (1.4 + 1.75 + 1)
    assert evidence_loss(mask, evidence).item() == pytest.approx(entropy / 1.5 + dice, rel=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_segments_that_move_as_polynomials_cost_nothing(degree: int) -> None:
    rng = np.random.default_rng(degree)
    basis = polynomial_basis(12, 20, degree).reshape(-1, 12, 20)
    masks = halves(12, 20)
    motions = [torch.from_numpy(rng.normal(0, 3, (2, len(basis)))).float() for _ in range(2)]
    flow = sum(mask * torch.einsum("dk,khw->dhw", motion, basis) for mask, motion in zip(masks[0], motions))[None]
    assert coherence_loss(masks, flow, degree).item() == pytest.approx(0, abs=1e-3)
    whole = torch.ones_like(masks[:, :1])
    assert coherence_loss(whole, flow, degree).item() > 0.1
    if degree:
        assert coherence_loss(masks, flow, degree - 1).item() > 0.05


def test_coherence_of_one_segment_by_hand() -> None:
    # Half of a 4x8 frame moves by +1 and half by -1: the mean, 0, is what the first fit and all refits find (by
    # symmetry), every vector is 1 off, and so is the mean distance s: every pixel costs 1 / (1 + 1).
    flow = (2 * halves(4, 8)[:, :1] - 1).repeat(1, 2, 1, 1) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    one = torch.ones(1, 1, 4, 8)
    assert coherence_loss(one, flow, 0).item() == pytest.approx(0.5, rel=1e-4)
    # Two soft segments of which neither prefers a side cost the same; hard ones that divide the sides cost nothing.
    assert coherence_loss(torch.full((1, 2, 4, 8), 0.5), flow, 0).item() == pytest.approx(0.5, rel=1e-4)
    assert coherence_loss(halves(4, 8), flow, 0).item() == pytest.approx(0, abs=1e-3)


def test_a_few_wild_vectors_do_not_bend_the_motion() -> None:
    flow = torch.ones(1, 2, 10, 20)
    flow[:, :, 0, :10] = 100.0
    loss = coherence_loss(torch.ones(1, 1, 10, 20), flow, 0).item()
    # s is that of a mean fit, 9.4 a vector and more; the wild 5 % cost nearly 1, the rest nearly nothing
    assert 0.04 < loss < 0.06


def test_flow_that_is_not_valid_does_not_count() -> None:
    flow, valid = torch.ones(1, 2, 6, 8), torch.ones(1, 1, 6, 8)
    flow[..., :3], valid[..., :3] = torch.randn(6, 3) * 50, 0
    one = torch.ones(1, 1, 6, 8)
    assert coherence_loss(one, flow, 1, valid).item() == pytest.approx(0, abs=1e-3)
    assert coherence_loss(one, flow, 1).item() > 0.1


def test_gradients_of_coherence_pull_pixels_to_the_segment_that_moves_like_them() -> None:
    flow = halves(6, 8)[:, :1].repeat(1, 2, 1, 1) * 4
    preference = torch.full((6, 8), 0.1)
    preference[:, 4:] = -0.1
    preference.requires_grad_()
    masks = torch.stack((preference, -preference))[None].softmax(1)
    coherence_loss(masks, flow, 0).backward()
    assert (preference.grad[:, :4] < 0).all()
    assert (preference.grad[:, 4:] > 0).all()


def test_consistency_by_hand() -> None:
    # A bar moves two pixels to the right; each frame's flow says so, on the bar and off it.
    masks = torch.zeros(2, 2, 6, 12)
    masks[0, 1, :, 3:6] = masks[1, 1, :, 5:8] = 1
    masks[:, 0] = 1 - masks[:, 1]
    flow = torch.zeros(2, 2, 6, 12)
    flow[0, 0], flow[1, 0] = 2, -2
    assert consistency_loss(masks, flow).item() == pytest.approx(0, abs=1e-6)
    # Without motion 2 of 12 columns gain the bar, and 2 lose it: each a squared change of (1 + 1) / 2.
    assert consistency_loss(masks, torch.zeros_like(flow)).item() == pytest.approx(4 / 12, rel=1e-5)
    valid = torch.ones(2, 1, 6, 12)
    valid[..., :9] = 0
    assert consistency_loss(masks, torch.zeros_like(flow), valid).item() == 0


def test_pixels_that_the_other_frame_does_not_show_do_not_count() -> None:
    masks = torch.zeros(2, 1, 6, 12)
    masks[0, :, :, 8:] = 1  # what has left the second frame
    flow = torch.zeros(2, 2, 6, 12)
    flow[0, 0], flow[1, 0] = 12, -12
    assert consistency_loss(masks, flow).item() == 0
