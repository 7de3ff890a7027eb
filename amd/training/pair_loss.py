"""How alike two embeddings are, and the loss that teaches it (section 3.1, eqs. 1 and 2).

Input: embeddings of sampled pixels with the instance that each belongs to. Output: a scalar. Eq. 2's weight is
inversely proportional to the sizes of both pixels' instances, counted in the sample, and the weights of an image sum
to one: an object of few pixels counts as much as the background.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_2 = 0.6931471805599453
NEAR = 1e-4  # added to squared distances, so that two equal embeddings of different objects have a finite gradient


def squared_distances(embeddings: Tensor) -> Tensor:
    """Squared L2 distances B,P,P between all pairs of embeddings B,P,D, at least 0."""
    lengths = embeddings.square().sum(2)
    products = embeddings @ embeddings.transpose(1, 2)
    return (lengths[:, :, None] + lengths[:, None, :] - 2 * products).clamp(min=0)


def similarity(squared: Tensor) -> Tensor:
    """Eq. 1 of squared distances: 2 / (1 + exp(d^2)), in (0, 1]."""
    return 2 * torch.sigmoid(-squared)


def pair_loss(squared: Tensor, same: Tensor, weights: Tensor) -> Tensor:
    """Eq. 2: the cross entropy between eq. 1 and `same`, weighted; all B,P,P, the result a scalar.

    `weights` say how much a pair counts (see pair_weights), 0 for not at all; 0 when no pair counts.
    """
    squared = squared + NEAR
    log_alike = LOG_2 - F.softplus(squared)
    log_unlike = torch.log(torch.tanh(squared / 2))  # 1 - R
    entropy = -torch.where(same, log_alike, log_unlike)
    return (weights * entropy).sum() / weights.sum().clamp(min=1e-12)


def pair_weights(owners: Tensor, classes: Tensor, exact: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of sampled pixels share an instance, and what each counts: `same` bool and weights, both B,P,P.

    `owners` B,P are instances (0 background, -1 for a pixel of none), `classes` B,P their classes. Where `exact` B
    is not given, instances of one class may be one object: pairs of two of them do not count.
    """
    same = owners[:, :, None] == owners[:, None, :]
    known = (owners >= 0)[:, :, None] & (owners >= 0)[:, None, :]
    unsure = (classes[:, :, None] == classes[:, None, :]) & ~same & ~exact[:, None, None]
    sizes = same.sum(2).float()
    weights = (known & ~unsure) / (sizes[:, :, None] * sizes[:, None, :])
    return same, weights / weights.sum((1, 2), keepdim=True).clamp(min=1e-12)


@torch.no_grad()
def pair_accuracy(squared: Tensor, same: Tensor, weights: Tensor) -> Tensor:
    """Share of pairs that eq. 1 puts on the right side of 0.5, pairs of one and of two instances counting alike.

    All B,P,P, weights as of pair_weights; NaN when either kind is missing.
    """
    right = (similarity(squared) >= 0.5) == same
    apart = torch.eye(same.shape[1], dtype=torch.bool, device=same.device) < 1  # a pixel is no pair with itself
    shares = []
    for kind in (same & apart, ~same):
        counted = weights * kind
        shares.append((counted * right).sum() / counted.sum())
    return (shares[0] + shares[1]) / 2
