"""The camera's motion: polynomials found again, by hand and despite objects."""

import numpy as np
import pytest
import torch

from amd.motion.camera import LEAST_SCALE, fit_motion, monomials, polynomial, residual_motion


def test_monomials_by_hand() -> None:
    basis = monomials(1, 4, 2)  # x at -0.75, -0.25, 0.25, 0.75 of the long edge; y is 0
    assert basis[0, 0].tolist() == [1, -0.75, 0, 0.5625, 0, 0]
    assert basis[0, 3].tolist() == [1, 0.75, 0, 0.5625, 0, 0]


def test_a_shift_is_the_mean_of_the_flow_with_degree_zero() -> None:
    flow = torch.tensor([[[[1.0, 3.0]], [[-2.0, 0.0]]]])
    coefficients, _ = fit_motion(flow, degree=0, iterations=0)
    assert torch.allclose(coefficients, torch.tensor([[[2.0, -1.0]]]), atol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_an_exact_polynomial_leaves_nothing(degree: int) -> None:
    torch.manual_seed(degree)
    coefficients = torch.randn(3, (degree + 1) * (degree + 2) // 2, 2) * 4
    flow = polynomial(coefficients, 20, 31)
    found, scale = fit_motion(flow, degree)
    assert torch.allclose(found, coefficients, atol=1e-3)
    assert scale.tolist() == pytest.approx([LEAST_SCALE] * 3)


def test_an_affine_flow_by_hand() -> None:
    """x' = 1 + 2x, y' = -y over a square of side 2 from -1 to 1."""
    found = polynomial(torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, -1.0]]]), 4, 4)[0]
    assert found[0, 0].tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert found[1, :, 0].tolist() == [0.75, 0.25, -0.25, -0.75]


def test_an_object_does_not_move_the_camera() -> None:
    torch.manual_seed(0)
    camera = polynomial(torch.tensor([[[3.0, -1.0], [0.5, 0.2], [-0.3, 0.4]]]), 40, 60)
    flow = camera + 0.05 * torch.randn_like(camera)
    flow[:, :, 10:25, 20:45] += torch.tensor([6.0, 4.0])[None, :, None, None]  # 16 % of the frame
    residual, scale = residual_motion(flow)
    plain = fit_motion(flow, iterations=0)[0]
    ground = torch.ones(40, 60, dtype=torch.bool)
    ground[10:25, 20:45] = False
    assert residual[0, :, ground].norm(dim=0).mean() < 0.1
    assert (flow - polynomial(plain, 40, 60))[0, :, ground].norm(dim=0).mean() > 0.5
    assert residual[0, :, ~ground].mean(dim=1).tolist() == pytest.approx([6.0, 4.0], abs=0.1)
    assert float(scale) == pytest.approx(0.05, rel=0.3)


def test_each_flow_of_a_batch_as_by_itself_and_as_numpys_weighted_least_squares() -> None:
    torch.manual_seed(1)
    flows = torch.randn(2, 2, 9, 11)
    together, _ = fit_motion(flows, iterations=3)
    for flow, expected in zip(flows, together, strict=True):
        assert torch.allclose(fit_motion(flow[None], iterations=3)[0][0], expected, atol=1e-5)
    basis = monomials(9, 11, 1).reshape(-1, 3).double().numpy()
    vectors = flows[0].flatten(1).T.double().numpy()
    weights = np.ones(len(vectors))
    for _ in range(4):
        root = np.sqrt(weights)[:, None]
        fitted = np.linalg.lstsq(basis * root, vectors * root, rcond=None)[0]
        lengths = np.linalg.norm(vectors - basis @ fitted, axis=1)
        weights = 1 / (1 + (lengths / (2.385 * np.sort(lengths)[(len(lengths) - 1) // 2] / 1.1774)) ** 2)
    assert np.allclose(together[0].numpy(), fitted, atol=1e-4)
