"""When a training ends early, and which of its weights are kept: those that a judge finds best.

Input: the objective while it is trained, which holds the network, and a judge. Output: the best of its averaged
weights. Single steps differ by much more than a training gains in a hundred of them; weights averaged over the last
steps do not, so they are judged.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from amd.training.distributed import Process, mean_over_processes

DECAY = 0.98  # of the weights' running average: over about 50 steps


@dataclass(frozen=True)
class Keeping:
    """How weights are chosen."""

    judge: Callable[[nn.Module], float]  # of the objective, in evaluation mode; larger is better, nan: no opinion
    every: int  # iterations
    patience: int  # looks without a better one, after which training ends


class Keeper(nn.Module):
    """Follows an objective; all that it knows is in its state, from which it goes on."""

    value: Tensor  # the best one's; minus infinity before there is one
    iteration: Tensor  # the best one's
    latest: Tensor
    waited: Tensor  # looks since the best one

    def __init__(self, objective: nn.Module, keeping: Keeping) -> None:
        super().__init__()
        self.keeping = keeping
        self.average = AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True).eval()
        self.best = copy.deepcopy(objective).eval()
        for name, start in {"value": -math.inf, "iteration": 0, "latest": math.nan, "waited": 0}.items():
            self.register_buffer(name, torch.tensor(start, dtype=torch.float64))

    def follow(self, objective: nn.Module, iteration: int, process: Process) -> None:
        """Take in the weights after an iteration; judge their average where it is time."""
        self.average.update_parameters(objective)
        if iteration % self.keeping.every:
            return
        value = self.keeping.judge(self.average.module) if process.is_main else 0.0
        value = float(mean_over_processes(torch.tensor(value, device=process.device))) * process.count
        if math.isnan(value):
            return
        self.latest.fill_(value)
        self.waited += 1
        if value > self.value:
            self.best.load_state_dict(self.average.module.state_dict())
            self.value.fill_(value)
            self.iteration.fill_(iteration)
            self.waited.zero_()

    @property
    def ended(self) -> bool:
        """Whether more training is not worth its time."""
        return bool(self.waited >= self.keeping.patience)

    @property
    def known(self) -> bool:
        """Whether there is a best one."""
        return bool(self.value > -math.inf)

    def figures(self) -> dict[str, float]:
        """What a history says of it."""
        return {"agreement": float(self.latest)} if self.known else {}
