"""One objective for pretraining and for adaptation to a video: the paper's view synthesis, and what motion tells.

Input: the soft masks that AMD gave to a Batch of frames, and what is known of these frames. Output: a scalar, the sum
of four terms under the weights of amd.config.Objective; a term of weight 0 is not computed. Everything is float32.

- view synthesis (paper 3.4): amd.training.losses, unchanged. With its weight alone this is the paper.
- evidence: the object's mask is what moves on its own (motion evidence p): cross-entropy and soft Dice.
- coherence: every segment's flow is one polynomial of the position; of degree 0 one vector, the paper's segment flow.
- consistency: a point keeps its segment along the flow.
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.config.pipeline import Objective
from amd.models.amd import AMD, AMDOutput
from amd.models.segment_flow import VANISHED
from amd.models.warp import visibility, warp
from amd.training.losses import view_synthesis_loss

Part = TypeVar("Part")

OBJECT = 1  # the segment of a model from scratch that evidence makes the object
SURE = 1e-4  # probabilities are kept this far from 0 and 1, so that one wrong pixel has a bounded loss
REFITS = 2  # of a segment's motion, after the first fit: weights have settled then
SMALLEST_STD = 0.1  # pixels: what flow is not measured more finely than


@dataclass(frozen=True)
class Batch:
    """Frames and what is known of them. The first half are first frames, the second half their second frames.

    Where neither view synthesis nor consistency is asked for, frames need not be in pairs.
    """

    images: Tensor  # N,3,H,W in [0, 1]
    evidence: Tensor | None = None  # N,H,W: probability that a pixel moves on its own
    flow: Tensor | None = None  # N,2,H,W in pixels: from every frame into the other one of its pair
    valid: Tensor | None = None  # N,1,H,W: 1 where the flow is known; None: everywhere


@dataclass(frozen=True)
class Prediction:
    """What AMD said of a Batch."""

    masks: Tensor  # N,c,h,w, soft
    output: AMDOutput | None  # of its pairs; None where the motion pathway was not run


def predict(model: AMD, images: Tensor, weights: Objective) -> Prediction:
    """Masks of a Batch's images, and the flows of its pairs where view synthesis has a weight."""
    if not weights.view_synthesis:
        return Prediction(model.segment(images), None)
    half = len(images) // 2
    output = model(images[:half], images[half:])
    return Prediction(torch.cat((output.masks_first, output.masks_second)), output)


def objective(prediction: Prediction, batch: Batch, weights: Objective, segment: int) -> Tensor:
    """The loss, a scalar. `segment` is the one that evidence makes the object.

    ValueError when a term has a weight and the batch lacks what it needs.
    """
    with torch.autocast(batch.images.device.type, enabled=False):
        masks = _at_size(prediction.masks.float(), batch.images.shape[2:])
        terms: list[Tensor] = []
        if weights.view_synthesis:
            half = len(batch.images) // 2
            loss = view_synthesis_loss(_known(prediction.output), batch.images[:half], batch.images[half:])
            terms.append(weights.view_synthesis * loss)
        if weights.evidence:
            terms.append(weights.evidence * evidence_loss(masks[:, segment], _known(batch.evidence)))
        if weights.coherence:
            loss = coherence_loss(masks, _known(batch.flow), weights.degree, batch.valid)
            terms.append(weights.coherence * loss)
        if weights.consistency:
            terms.append(weights.consistency * consistency_loss(masks, _known(batch.flow), batch.valid))
        return torch.stack(terms).sum()


def evidence_loss(mask: Tensor, evidence: Tensor) -> Tensor:
    """The object's mask N,h,w against the evidence p of the same shape.

    Cross-entropy with weight |2p - 1|, as evidence of 0.5 says nothing; and soft Dice over the whole batch, so that
    small objects count as large ones do. A frame without evidence has no Dice of its own, which would be noise.
    """
    p, mask = evidence.float(), mask.clamp(SURE, 1 - SURE)
    weight = (2 * p - 1).abs()
    entropy = -(p * mask.log() + (1 - p) * (1 - mask).log())
    dice = 1 - (2 * (mask * p).sum() + 1) / (mask.sum() + p.sum() + 1)
    return (weight * entropy).sum() / weight.sum().clamp(min=1) + dice


def coherence_loss(masks: Tensor, flow: Tensor, degree: int, valid: Tensor | None = None) -> Tensor:
    """How far flow N,2,h,w is from one polynomial of `degree` per segment of masks N,c,h,w; 0 to 1.

    A vector that lies r pixels off costs r² / (r² + s²) (Geman-McClure): nearly the same whether it is far off or very
    far, as those at occlusions are. s is the frame's mean distance from a single polynomial: what is to be explained.
    Gradients pass through the masks alone; a fit is at its optimum, where the masks' effect on it changes nothing.
    """
    basis = polynomial_basis(flow.shape[2], flow.shape[3], degree).to(flow.device)  # k,hw
    known = flow.new_ones(flow.shape[0], 1, flow[0, 0].numel()) if valid is None else valid.flatten(2)
    masks, flow = masks.flatten(2), flow.float().flatten(2)
    area = known.sum(2).clamp(min=1)  # N,1
    with torch.no_grad():
        whole = _distances(known, flow, basis, known.new_ones(len(known), 1))
        spread = (((whole.sqrt() * known).sum(2) / area).clamp(min=SMALLEST_STD)) ** 2
        distances = _distances(masks.detach() * known, flow, basis, spread)  # N,c,hw
        costs = distances / (distances + spread[:, :, None]) * known
    return ((masks * costs).sum((1, 2)) / area[:, 0]).mean()


def consistency_loss(masks: Tensor, flow: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared change of masks N,c,h,w along the flow, of pairs in the order of a Batch; 0 to 1.

    Only pixels count that the other frame shows too.
    """
    half = len(masks) // 2
    swap = lambda pairs: torch.cat((pairs[half:], pairs[:half]))
    seen = visibility(swap(flow.float()))
    if valid is not None:
        seen = seen * valid
    change = ((warp(swap(masks), flow) - masks) ** 2).sum(1, keepdim=True) / 2
    return (change * seen).sum() / seen.sum().clamp(min=1)


@cache
def polynomial_basis(height: int, width: int, degree: int) -> Tensor:
    """Monomials k,hw of the position up to `degree` (0: 1, 1: 3, 2: 6 of them); x and y run from -1 to 1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    powers = [(i, total - i) for total in range(degree + 1) for i in range(total + 1)]
    return torch.stack([(x**i * y**j).flatten() for i, j in powers])


def _distances(masks: Tensor, flow: Tensor, basis: Tensor, spread: Tensor) -> Tensor:
    """Squared distance N,c,hw of flow N,2,hw from the polynomial fitted under each of the masks N,c,hw.

    Least squares; then again with the weights that make the least squares those of Geman-McClure with s² `spread` N,1.
    """
    weights, distances = masks, masks
    ridge = VANISHED * flow.shape[2] * torch.eye(len(basis), device=flow.device)
    for _ in range(REFITS + 1):
        weighted = weights[:, :, None] * basis  # N,c,k,hw
        normal = weighted @ basis.T + ridge  # N,c,k,k
        moments = weighted @ flow[:, None].transpose(2, 3)  # N,c,k,2
        fitted = torch.linalg.solve(normal, moments).transpose(2, 3) @ basis  # N,c,2,hw
        distances = ((flow[:, None] - fitted) ** 2).sum(2)
        weights = masks * (spread[:, :, None] / (distances + spread[:, :, None])) ** 2
    return distances


def _at_size(masks: Tensor, size: torch.Size) -> Tensor:
    """Masks of an appearance pathway with a stride, enlarged to where evidence and flow are known."""
    if masks.shape[2:] == size:
        return masks
    return F.interpolate(masks, tuple(size), mode="bilinear", align_corners=False)


def _known(part: Part | None) -> Part:
    if part is None:
        raise ValueError("a term of the objective has a weight, but the batch lacks what it is computed from")
    return part
