"""Adaptation: what is drawn from a clip, how it is warped, and that it learns the evidence it is given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from amd.config.fused import APPEARANCE, FIT
from amd.config.pipeline import Adapt, Model, Objective
from amd.models.amd import AMD, Architecture
from amd.models.warp import warp
from amd.runtime.errors import UserError
from amd.training.adaptation import adapt, clip_of, pairs_apart, rate
from amd.training.draws import Clip, affine, draw, random_matrices

CPU = torch.device("cpu")
PAIRED = Objective(view_synthesis=0.0, evidence=1.0, coherence=0.1, consistency=0.1)


def settings(**values: object) -> Adapt:
    return FIT.model_copy(update={"iterations": 30, "batch_size": 2, "precision": "float32"} | values)


def square_clip(frames: int = 6, size: tuple[int, int] = (32, 48)) -> Clip:
    """A red square that moves 2 pixels a frame to the right over grey noise, with exact evidence and flow."""
    noise = np.random.default_rng(0)
    images = noise.integers(90, 130, (frames, 3, *size), dtype=np.uint8)
    evidence = torch.zeros(frames, *size)
    flow = torch.zeros(frames - 1, 2, 2, *size)
    for number in range(frames):
        box = (slice(10, 22), slice(4 + 2 * number, 16 + 2 * number))
        images[number, :, *box] = np.array([220, 40, 40])[:, None, None]
        evidence[number, *box] = 1
        if number < frames - 1:
            flow[number, 0, 0, *box] = 2
        if number:
            flow[number - 1, 1, 0, *box] = -2
    return Clip(torch.from_numpy(images), torch.tensor(pairs_apart(frames, 1)), evidence, flow)


def untrained(seed: int = 0) -> AMD:
    torch.manual_seed(seed)
    return AMD(Architecture(**APPEARANCE.model_dump()))


@pytest.mark.parametrize("objective", [FIT.objective, PAIRED])
def test_appearance_learns_what_moves(objective: Objective) -> None:
    clip = square_clip()
    adapted = adapt(untrained(), clip, settings(objective=objective, iterations=60), segment=1)
    with torch.no_grad():
        masks = adapted.segment(clip.images.float() / 255)[:, 1] > 0.5
    overlap = (masks & (clip.evidence > 0)).sum() / (masks | (clip.evidence > 0)).sum()
    assert overlap > 0.85


def test_the_object_is_the_segment_that_is_told() -> None:
    clip = square_clip()
    for segment in (0, 1):
        adapted = adapt(untrained(), clip, settings(), segment)
        with torch.no_grad():
            masks = adapted.segment(clip.images.float() / 255)
        inside = (masks * clip.evidence[:, None]).sum((0, 2, 3)) / clip.evidence.sum()
        assert inside[segment] > 0.8


def test_the_same_seed_gives_the_same_model_and_leaves_the_first_alone() -> None:
    model = untrained()
    before = [weight.clone() for weight in model.state_dict().values()]
    weights = [list(adapt(model, square_clip(), settings(iterations=3, seed=s), 1).parameters()) for s in (0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


def test_a_model_with_a_stride_and_more_segments_learns_the_same() -> None:
    torch.manual_seed(0)
    model = AMD(Architecture("small", 4, 4, 0.1, "small", 64, 64))
    clip = square_clip()
    adapted = adapt(model, clip, settings(objective=PAIRED, iterations=60), segment=2)
    with torch.no_grad():
        masks = torch.nn.functional.interpolate(adapted.segment(clip.images.float() / 255), clip.images.shape[2:])
    inside = (masks * clip.evidence[:, None]).sum((0, 2, 3)) / clip.evidence.sum()
    assert inside[2] > 0.7
    assert (masks[:, 2] * (1 - clip.evidence)).mean() < 0.1


def test_pairs_are_needed_where_the_objective_looks_at_them() -> None:
    clip = square_clip()
    lone = replace(clip, pairs=clip.pairs[:0], flow=None)
    adapt(untrained(), lone, settings(iterations=1), 1)
    with pytest.raises(UserError, match="too few for a pair"):
        adapt(untrained(), lone, settings(objective=Objective()), 1)


def test_a_batch_has_first_frames_then_their_seconds_with_what_is_known_of_each() -> None:
    clip = square_clip()
    numbered = replace(clip, images=torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 32, 48))
    batch = draw(numbered, settings(objective=PAIRED, affine=0.0, batch_size=8), np.random.default_rng(0), CPU)
    numbers = (batch.images[:, 0, 0, 0] * 255).round().int()
    assert (numbers[8:] == numbers[:8] + 1).all()
    for number, evidence, flow in zip(numbers, batch.evidence, batch.flow, strict=True):
        mirrored = not torch.equal(evidence, clip.evidence[number])
        assert torch.equal(evidence.flip(1) if mirrored else evidence, clip.evidence[number])
        assert flow[0].abs().max() == 2
        assert torch.equal(flow[0] != 0, evidence > 0)  # the square moves in every frame, and nothing else does
    assert set(batch.flow[:8, 0].sum((1, 2)).sign().tolist()) == {-1.0, 1.0}  # some are mirrored, some are not
    assert batch.valid.min() == 1


def test_frames_without_pairs_are_drawn_one_by_one() -> None:
    clip = square_clip()
    batch = draw(clip, settings(batch_size=3), np.random.default_rng(0), CPU)
    assert batch.images.shape == (6, 3, 32, 48)
    assert batch.flow is None
    assert batch.valid is None


def test_a_pair_shares_its_crop_its_mirroring_and_its_warp() -> None:
    image = torch.randint(0, 255, (1, 3, 32, 48), dtype=torch.uint8)
    still = Clip(image.repeat(2, 1, 1, 1), torch.tensor([(0, 1)]))
    drawn = draw(still, settings(objective=Objective(), crop=24, batch_size=5), np.random.default_rng(0), CPU)
    assert drawn.images.shape == (10, 3, 24, 24)
    assert torch.equal(drawn.images[:5], drawn.images[5:])
    assert not torch.equal(drawn.images[0], drawn.images[1])


def test_the_warp_of_a_flow_is_the_flow_of_the_warp() -> None:
    """Two warped frames are related by the warped flow: sampling the second along it gives the first."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    first = torch.stack((x / 60, y / 40, (x + y) / 100))
    shift = torch.tensor([3.0, -2.0])
    second = torch.stack(((x - 3) / 60, (y + 2) / 40, (x + y - 1) / 100))
    flow = shift.view(2, 1, 1).expand(2, 40, 60)
    layers = torch.stack([torch.cat((image, x[None] * 0, flow, x[None] * 0 + 1)) for image in (first, second)])
    matrices = random_matrices(1, 0.2, np.random.default_rng(1)).repeat(2, 1, 1)
    warped = affine(layers, matrices)
    seen = warp(warped[1:, :3], warped[:1, 4:6])
    sure = (warped[0, 6] == 1)[3:-3, 5:-5]
    difference = (seen - warped[:1, :3])[0, :, 3:-3, 5:-5].abs().amax(0)
    assert sure.float().mean() > 0.5
    assert difference[sure].quantile(0.9) < 2e-3
    assert (warped[:, 6] == 0).any()


def test_one_cycle_rises_and_falls_to_nothing() -> None:
    rates = [rate(settings(iterations=50), number) for number in range(50)]
    top = int(np.argmax(rates))
    assert 5 < top < 15
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] < 0.2
    assert max(rates) > 0.99
    assert rates[-1] < 0.01
    assert rate(settings(schedule="constant"), 7) == 1


def test_a_clip_of_frames_keeps_every_pair_that_is_asked_for() -> None:
    images = [np.full((40, 60, 3), value, np.uint8) for value in range(5)]
    clip = clip_of(images, pairs_apart(5, 2), 20)
    assert clip.images.shape == (5, 3, 20, 30)
    assert clip.pairs.tolist() == [[0, 2], [1, 3], [2, 4]]
    assert len(clip_of(images[:1], pairs_apart(1, 1), None).pairs) == 0


def test_only_the_unet_has_stride_one() -> None:
    for change in ({"output_stride": 4}, {"backbone": "small"}):
        with pytest.raises(ValidationError, match="the unet's is 1"):
            Model(**(APPEARANCE.model_dump() | change))


@pytest.mark.parametrize("size", [(33, 47), (32, 48), (17, 16)])
def test_the_unet_gives_masks_at_the_images_own_size(size: tuple[int, int]) -> None:
    masks = untrained().eval().segment(torch.rand(1, 3, *size))
    assert masks.shape == (1, 2, *size)
    assert torch.allclose(masks.sum(1), torch.ones(1, *size))
