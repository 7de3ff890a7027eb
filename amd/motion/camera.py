"""The camera's motion: a polynomial in the pixel's position, fitted to dense flow so that objects do not count.

Iteratively reweighted least squares with Cauchy's weights (Holland and Welsch, 1977), for many flows at once. Degree 0
is a shift, 1 an affine motion, 2 a quadratic one (a plane seen by a turning camera has eight of its twelve numbers).
"""

import torch
from torch import Tensor

CAUCHY = 2.385  # times the scale: 95 % as good as least squares where errors are Gaussian
MEDIAN_TO_SCALE = 1.1774  # the median length of a two-dimensional Gaussian error of standard deviation 1
LEAST_SCALE = 0.02  # pixels: flow is not known better than that


def monomials(height: int, width: int, degree: int, device: torch.device | str = "cpu") -> Tensor:
    """The monomials up to `degree` at every pixel: float32 H,W,K, with x and y in [-1, 1] over the long edge."""
    long = max(height, width)
    y = (2 * torch.arange(height, device=device) + 1 - height) / long
    x = (2 * torch.arange(width, device=device) + 1 - width) / long
    y, x = torch.meshgrid(y.float(), x.float(), indexing="ij")
    return torch.stack([x ** (n - k) * y**k for n in range(degree + 1) for k in range(n + 1)], dim=2)


def fit_motion(flows: Tensor, degree: int = 1, iterations: int = 10, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Coefficients B,K,2 of the polynomial that most of each flow B,2,H,W follows, and the scale B of what is left.

    The scale is that of a Gaussian whose median residual is as long, in the flow's unit. Every `stride`-th row and
    column counts. The first fit is plain least squares.
    """
    basis = monomials(flows.shape[2], flows.shape[3], degree, flows.device)[::stride, ::stride].flatten(0, 1)
    vectors = flows[:, :, ::stride, ::stride].flatten(2).transpose(1, 2).float()
    weights = vectors.new_ones(vectors.shape[:2])
    ridge = 1e-6 * torch.eye(basis.shape[1], device=flows.device)
    for turn in range(iterations + 1):
        weighted = basis * weights[:, :, None]  # B,N,K
        normal = weighted.transpose(1, 2) @ basis
        ridges = ridge * normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        coefficients = torch.linalg.solve(normal + ridges, weighted.transpose(1, 2) @ vectors)
        lengths = torch.hypot(*(vectors - basis @ coefficients).unbind(2))
        scale = (lengths.median(dim=1).values / MEDIAN_TO_SCALE).clamp(min=LEAST_SCALE)
        if turn < iterations:
            weights = 1 / (1 + (lengths / (CAUCHY * scale[:, None])) ** 2)
    return coefficients, scale


def polynomial(coefficients: Tensor, height: int, width: int) -> Tensor:
    """The flow B,2,H,W of polynomials with `coefficients` B,K,2."""
    degree = {1: 0, 3: 1, 6: 2, 10: 3}[coefficients.shape[1]]
    basis = monomials(height, width, degree, coefficients.device)
    return torch.einsum("hwk,bkc->bchw", basis, coefficients)


def residual_motion(flows: Tensor, degree: int = 1, stride: int = 1) -> tuple[Tensor, Tensor]:
    """What each flow B,2,H,W has beyond the camera's motion, B,2,H,W, and its robust scale B."""
    coefficients, scale = fit_motion(flows, degree, stride=stride)
    return flows - polynomial(coefficients, *flows.shape[2:]), scale
