"""How much of what moves may be depth: near and far things of a still scene, seen by a camera that moves past them.

Input: evidence, flows, and the camera's motion in them. Output: a share. Such things move along the camera's motion,
somewhat faster or slower; what moves on its own does so in its own direction, and what the camera follows hardly moves
at all. One frame may look like depth by chance: the share is of a whole video.
"""

import torch
from torch import Tensor

ALONG = 0.35  # sine of the angle between the camera's motion and what is left without it, below which they are parallel
NEARNESS = (0.3, 3.0)  # times the camera's motion that things of a scene move by
LEAST = 0.25  # pixels: a camera that moves by less shows no depth


class Parallax:
    """Counts over a video's frames, as their evidence is made."""

    def __init__(self) -> None:
        self._depth = self._all = 0.0

    def add(self, probability: Tensor, flows: Tensor, residual: Tensor) -> None:
        """Frames' evidence B,h,w, their flows B,D,2,h,w, and what these have beyond the camera's motion."""
        weight = (2 * probability - 1).clamp(min=0)[:, None]
        camera = flows - residual
        speed = torch.hypot(*camera.unbind(2))
        across = (camera[:, :, 0] * residual[:, :, 1] - camera[:, :, 1] * residual[:, :, 0]).abs()
        parallel = across < ALONG * speed * torch.hypot(*residual.unbind(2))
        nearness = (camera * flows).sum(2) / speed.square().clamp(min=LEAST**2)
        likely = parallel & (speed > LEAST) & (nearness > NEARNESS[0]) & (nearness < NEARNESS[1])
        self._depth += float((weight * likely).sum())
        self._all += float(weight.expand_as(likely).sum())

    @property
    def share(self) -> float:
        """Of what moves, 0 to 1; 0 where nothing does."""
        return self._depth / self._all if self._all else 0.0
