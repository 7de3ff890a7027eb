"""The gates: what a model must show to become champion, and what is missing from its metrics."""

import math

import pytest
from registering import scores

from amd.registry.gates import Champion, Evidence, gather_evidence, judge


def evidence(loss: float = 0.1, image: float = 0.6, adapted: float = 0.7, benchmark: str = "x") -> Evidence:
    return Evidence(loss, image, adapted, f"davis2016 {benchmark}", benchmark)


@pytest.mark.parametrize(
    ("candidate", "passed", "word"),
    [
        (evidence(), True, "J 0.600 per image"),
        (evidence(image=0.58, adapted=0.68), True, "not below"),  # just max_drop
        (evidence(image=0.579), False, "J per image 0.579 is more than 0.02 below the 0.600 of champion version 4"),
        (evidence(adapted=0.679, image=0.9), False, "adapted J 0.679"),
        (evidence(loss=math.nan, image=0.9), False, "loss is nan"),
        (evidence(loss=math.inf), False, "loss is inf"),
        (evidence(image=math.nan), False, "J per image is nan, not a finite number: it diverged or was never measured"),
        (evidence(adapted=math.nan), False, "adapted J is nan"),
        (evidence(image=0.99, adapted=0.99, benchmark="y"), False, "scored on something else (davis2016 x)"),
    ],
)
def test_the_gates_against_a_champion(candidate: Evidence, passed: bool, word: str):
    verdict = judge(candidate, Champion("4", evidence()), max_drop=0.02)
    assert verdict.passed is passed
    assert word in verdict.reason


def test_the_gates_without_a_champion_or_its_scores():
    assert judge(evidence(image=0.01), None, 0.02).passed
    assert not judge(evidence(loss=math.nan), None, 0.02).passed
    assert "registered without scores" in judge(evidence(), Champion("1", None), 0.02).reason


def test_evidence_survives_its_tags():
    exact = evidence(loss=1 / 3, image=0.1 + 0.2)
    assert Evidence.from_tags(exact.tags()) == exact
    assert Evidence.from_tags({**exact.tags(), "loss": "a lot"}) is None
    assert Evidence.from_tags({}) is None


def test_metrics_that_lack_a_part_give_evidence_that_is_refused():
    whole = scores(0.6, 0.7)
    assert judge(gather_evidence({"loss": 0.1}, whole), None, 0.02).passed
    for training, result, word in (
        ({}, whole, "loss is nan"),
        ({"loss": "low"}, whole, "loss is nan"),
        ({"loss": 0.1}, {**whole, "summary": {"image": whole["summary"]["image"]}}, "adapted J is nan"),
        ({"loss": 0.1}, {}, "J per image is nan"),
        ({"loss": 0.1}, {"summary": None, "scores": []}, "J per image is nan"),
    ):
        verdict = judge(gather_evidence(training, result), None, 0.02)
        assert not verdict.passed
        assert word in verdict.reason


def test_a_benchmark_is_another_with_other_sequences_protocol_or_data():
    def benchmark(result: dict, data: str | None = "d") -> str:
        return gather_evidence({"loss": 0.1}, result, data).benchmark

    same = benchmark(scores(0.6, 0.7))
    assert benchmark(scores(0.1, 0.2)) == same
    assert benchmark(scores(0.6, 0.7, names=("bear", "cow"))) != same
    assert benchmark(scores(0.6, 0.7), "other") != same
    other = scores(0.6, 0.7)
    other["scores"]["image"]["label-free"]["protocol"] = {"dataset": "davis2016", "frames_scored": 4}
    assert benchmark(other) != same
