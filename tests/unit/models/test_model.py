"""The network's parts against slow, plain versions of themselves; shapes, gradients, and what must stay finite."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from amd.models.amd import AMD, Architecture
from amd.models.cost_volume import cost_volume
from amd.models.inference import label_map, network_input, object_mask, soft_masks
from amd.models.precision import fastest_precision, rounding_error
from amd.models.resnet import make_backbone, stage_strides
from amd.models.segment_flow import compose, pool_per_segment
from amd.models.warp import visibility, warp
from amd.training.losses import photometric, ssim_distance, view_synthesis_loss

TINY = Architecture("small", 3, 4, 0.0, "small", 64, 64)


def plain_cost_volume(first: Tensor, second: Tensor) -> Tensor:
    height, width = first.shape[-2:]
    padded = F.pad(second, (4,) * 4)
    slices = [padded[..., y : y + height, x : x + width] for y in range(9) for x in range(9)]
    return torch.stack([(first * piece).mean(1) for piece in slices], 1)


@pytest.mark.parametrize("shape", [(2, 5, 7, 11), (1, 3, 2, 2), (2, 4, 5, 40), (1, 8, 16, 16)])
def test_cost_volume_and_its_gradient(shape):
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    first, second = draw(), draw()
    ours, plain = cost_volume(first, second), plain_cost_volume(first, second)
    torch.testing.assert_close(ours, plain)
    weights = torch.randn(plain.shape, dtype=torch.float64, generator=generator)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (first, second), weights), torch.autograd.grad(plain, (first, second), weights)
    ):
        torch.testing.assert_close(mine, theirs)


def test_warp_by_whole_pixels_is_a_shift():
    image = torch.arange(30.0).view(1, 1, 5, 6)
    flow = torch.zeros(1, 2, 5, 6)
    flow[:, 0], flow[:, 1] = 2, -1
    warped = warp(image, flow)
    torch.testing.assert_close(warped[0, 0, 1:, :4], image[0, 0, :4, 2:])
    torch.testing.assert_close(warped[0, 0, 1:, 4:], image[0, 0, :4, 5:].expand(4, 2))  # the border repeats


def test_warp_between_pixels_is_linear():
    image = torch.tensor([0.0, 10.0, 30.0]).view(1, 1, 1, 3).expand(1, 1, 2, 3).contiguous()
    flow = torch.zeros(1, 2, 2, 3)
    flow[:, 0] = 0.25
    torch.testing.assert_close(warp(image, flow)[0, 0, 0], torch.tensor([2.5, 15.0, 30.0]))


def splat_by_loops(flow: Tensor) -> np.ndarray:
    _, height, width = flow.shape
    weight = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            u, v = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            for cx in (int(np.floor(u)), int(np.floor(u)) + 1):
                for cy in (int(np.floor(v)), int(np.floor(v)) + 1):
                    if 0 <= cx < width and 0 <= cy < height:
                        weight[cy, cx] += max(0, 1 - abs(u - cx)) * max(0, 1 - abs(v - cy))
    return weight >= 0.2


def test_visibility_against_loops():
    flow = torch.randn(2, 2, 9, 13, generator=torch.Generator().manual_seed(1)) * 3
    for sample, seen in zip(flow, visibility(flow), strict=True):
        np.testing.assert_array_equal(seen[0].numpy() > 0, splat_by_loops(sample))


def test_visibility_survives_wild_flows():
    for value in (1e30, -1e30, 0.0):
        seen = visibility(torch.full((1, 2, 4, 4), value))
        assert seen.mean() == (1.0 if value == 0 else 0.0)


def test_pooling_and_composition_by_hand():
    masks = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.5], [1.0, 1.0]]]])  # 1,2,2,2
    features = torch.tensor([[[[2.0, 4.0], [6.0, 8.0]]]])
    pooled = pool_per_segment(features, masks)
    torch.testing.assert_close(pooled, torch.tensor([[[4 / 1.5], [16 / 2.5]]]))
    flow = compose(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), masks)
    torch.testing.assert_close(flow[0, :, 0, 1], torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(flow[0, :, 1, 0], torch.tensor([0.0, 2.0]))


def test_the_written_gradient_of_ssim_is_its_derivative():
    predicted = torch.rand(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda image: ssim_distance(image, target), predicted)


def test_ssim_distance_against_loops():
    generator = torch.Generator().manual_seed(2)
    first, second = torch.rand(1, 1, 5, 6, generator=generator), torch.rand(1, 1, 5, 6, generator=generator)
    ours = ssim_distance(first, second)[0, 0]
    assert ours.shape == (3, 4)
    for y in range(3):
        for x in range(4):
            a, b = first[0, 0, y : y + 3, x : x + 3].double(), second[0, 0, y : y + 3, x : x + 3].double()
            covariance = (a * b).mean() - a.mean() * b.mean()
            top = (2 * a.mean() * b.mean() + 0.01**2) * (2 * covariance + 0.03**2)
            bottom = (a.mean() ** 2 + b.mean() ** 2 + 0.01**2) * (a.var(correction=0) + b.var(correction=0) + 0.03**2)
            assert ours[y, x].item() == pytest.approx(float((1 - top / bottom) / 2), abs=1e-5)
    assert ssim_distance(first, first).abs().max() < 1e-6


def test_strides_of_the_paper():
    assert stage_strides(8) == [(1, 1), (2, 1), (1, 1), (1, 2)]
    assert stage_strides(32) == [(1, 1), (2, 1), (2, 1), (2, 1)]


@pytest.mark.parametrize("backbone", ["small", "resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_output_stride(backbone, stride):
    network = make_backbone(backbone, stride).eval()
    with torch.no_grad():
        features = network(torch.rand(1, 3, 33, 70))
    assert features.shape == (1, network.channels, -(-33 // stride), -(-70 // stride))


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (37, 53)])
def test_output_contract_for_any_size(size):
    torch.manual_seed(0)
    first, second = torch.rand(2, 3, *size), torch.rand(2, 3, *size)
    output = AMD(TINY)(first, second)
    height, width = -(-size[0] // 4), -(-size[1] // 4)
    for masks in (output.masks_first, output.masks_second):
        assert masks.shape == (2, 3, height, width)
        torch.testing.assert_close(masks.sum(1), torch.ones(2, height, width))
    for flows in (output.forward_flows, output.backward_flows):
        assert [flow.shape[2:] for flow in flows] == [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
        assert all(flow.shape[:2] == (2, 2) for flow in flows)
    assert output.forward_region_flow.shape == output.backward_region_flow.shape == (2, 3, 2)
    assert output.forward_dense_flow.shape == output.backward_dense_flow.shape == (2, 2, 64, 64)


def test_swapping_the_frames_swaps_the_directions():
    torch.manual_seed(0)
    model = AMD(TINY).eval()
    first, second = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48)
    ahead, back = model(first, second), model(second, first)
    torch.testing.assert_close(ahead.forward_region_flow, back.backward_region_flow)
    torch.testing.assert_close(ahead.masks_first, back.masks_second)


def test_every_parameter_learns():
    torch.manual_seed(0)
    model = AMD(TINY)
    first, second = torch.rand(2, 3, 48, 48), torch.rand(2, 3, 48, 48)
    view_synthesis_loss(model(first, second), first, second).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_vanished_mask_is_harmless():
    torch.manual_seed(0)
    model = AMD(TINY)
    with torch.no_grad():
        model.appearance.classifier.bias[:] = torch.tensor([200.0, -200.0, -200.0])
    first, second = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48)
    output = model(first, second)
    assert output.masks_first[:, 1:].max() == 0
    loss = view_synthesis_loss(output, first, second)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_fully_occluded_frame_is_harmless():
    torch.manual_seed(0)
    model = AMD(TINY)
    with torch.no_grad():
        model.motion.estimator.readout[-1].bias[:] = 1e4  # everything flows out of the frame
    first, second = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48)
    output = model(first, second)
    assert visibility(output.forward_flows[0]).sum() == 0
    loss = view_synthesis_loss(output, first, second)
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_the_loss_of_a_perfect_flow_is_small():
    """A shifted image, predicted with the shift as flow, against no flow at all."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = lambda shift: (0.5 + 0.4 * torch.sin((x - shift) / 3) * torch.cos(y / 4)).expand(1, 3, 64, 64)
    target = torch.cat((image(0), image(3)))
    source = target.flip(0)
    seen = torch.ones(2, 1, 64, 64)
    flow = torch.zeros(2, 2, 64, 64)
    flow[0, 0], flow[1, 0] = 3, -3
    perfect = photometric(target, warp(source, flow), seen, 1)
    assert perfect < 0.05 * photometric(target, source, seen, 1)


def test_masks_of_an_image_at_its_own_size():
    torch.manual_seed(0)
    model = AMD(TINY).eval()
    image = torch.randint(0, 256, (50, 81, 3), dtype=torch.uint8)
    masks = soft_masks(model, image, short_edge=32)
    assert masks.shape == (3, 50, 81)
    torch.testing.assert_close(masks.sum(0), torch.ones(50, 81))
    assert label_map(masks).dtype == torch.uint8
    torch.testing.assert_close(object_mask(masks, 2), label_map(masks) == 2)


def test_masks_are_float32_unless_the_checkpoint_allows_bfloat16():
    torch.manual_seed(0)
    model = AMD(TINY).eval()
    image = torch.randint(0, 256, (50, 81, 3), dtype=torch.uint8)
    pixels = network_input(image, 32)
    at_full_size = lambda masks: F.interpolate(masks.float(), (50, 81), mode="bilinear", align_corners=False)[0]
    with torch.no_grad():
        exact = model.segment(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            fast = model.segment(pixels)
    assert rounding_error(model, pixels) == (fast - exact).abs().max() > 0
    assert torch.equal(soft_masks(model, image, 32), at_full_size(exact))
    model.bfloat16 = True
    has_units = fastest_precision("auto", torch.device("cpu")) == torch.bfloat16
    assert torch.equal(soft_masks(model, image, 32), at_full_size(fast if has_units else exact))
