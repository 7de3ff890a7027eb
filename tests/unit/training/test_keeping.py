"""Weights that a judge finds best: averages, the best one, patience, and going on from a state."""

import math

import pytest
import torch
from torch import nn

from amd.training.distributed import Process
from amd.training.keeping import DECAY, Keeper, Keeping

ALONE = Process(0, 1, torch.device("cpu"))


class Objective(nn.Module):
    """One weight, which the test moves as a training would."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def keeper(objective: nn.Module, judge, patience: int = 2) -> Keeper:
    return Keeper(objective, Keeping(judge, every=10, patience=patience))


def follow(kept: Keeper, objective: Objective, iterations: range) -> None:
    """The weight is the iteration's number; ends where the keeper does."""
    for iteration in iterations:
        if kept.ended:
            return
        objective.weight.data.fill_(iteration)
        kept.follow(objective, iteration, ALONE)


def averages(iterations: int) -> list[float]:
    """Exponential averages of 1, 2, 3, ..., the first one being the first value."""
    found = [1.0]
    for value in range(2, iterations + 1):
        found.append(DECAY * found[-1] + (1 - DECAY) * value)
    return found


def test_the_best_average_is_kept_and_training_ends_when_none_is_better():
    objective, asked = Objective(), []

    def judge(module: nn.Module) -> float:
        assert not module.training
        asked.append(module.weight.item())
        return -abs(module.weight.item() - 4)

    kept, expected = keeper(objective, judge), averages(100)
    follow(kept, objective, range(1, 101))
    best = min(expected[9::10], key=lambda value: abs(value - 4))
    assert float(kept.best.weight) == pytest.approx(best, rel=1e-5)
    assert int(kept.iteration) == 10 * (expected[9::10].index(best) + 1)
    assert asked == pytest.approx(expected[9::10][: len(asked)], rel=1e-5)
    assert len(asked) == int(kept.iteration) // 10 + 2  # two looks without a better one
    assert kept.figures() == {"agreement": pytest.approx(-abs(asked[-1] - 4), rel=1e-5)}


def test_it_goes_on_from_its_state_as_if_it_had_never_stopped():
    judge = lambda module: -abs(module.weight.item() - 4)
    whole, first, second = (keeper(Objective(), judge, patience=9) for _ in range(3))
    follow(whole, Objective(), range(1, 61))
    follow(first, Objective(), range(1, 36))
    second.load_state_dict(first.state_dict())
    follow(second, Objective(), range(36, 61))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_judge_without_an_opinion_keeps_nothing_and_ends_nothing():
    kept = keeper(Objective(), lambda _: math.nan)
    follow(kept, Objective(), range(1, 101))
    assert (kept.known, kept.ended, kept.figures()) == (False, False, {})
