"""The U-Net: sizes, the reach of its global mean, and that it can learn."""

import pytest
import torch

from amd.models.unet import UNet


@pytest.mark.parametrize("size", [(60, 107), (64, 64), (5, 3), (1, 1)])
def test_any_size_in_the_same_size_out(size: tuple[int, int]) -> None:
    network = UNet(4, (8, 12, 16), outputs=2).eval()
    assert network(torch.zeros(2, 4, *size)).shape == (2, 2, *size)


def test_one_level_needs_no_way_up() -> None:
    assert UNet(3, (8,), outputs=1)(torch.zeros(2, 3, 6, 7)).shape == (2, 1, 6, 7)


@pytest.mark.parametrize("global_mean", [True, False])
def test_only_the_global_mean_reaches_across_a_wide_image(global_mean: bool) -> None:
    torch.manual_seed(0)
    network = UNet(1, (4, 8), global_mean=global_mean).eval()
    image = torch.randn(1, 1, 8, 200, requires_grad=True)
    network(image)[0, 0, 4, 0].backward()
    far = image.grad[..., 100:].abs().sum()
    assert (far > 0) == global_mean


def test_it_learns_a_map() -> None:
    torch.manual_seed(0)
    network = UNet(1, (8, 16))
    maps = torch.randn(4, 1, 16, 16)
    wanted = (torch.nn.functional.avg_pool2d(maps, 5, 1, 2) > 0).float()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(maps), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
