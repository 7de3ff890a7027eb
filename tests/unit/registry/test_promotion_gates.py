"""The gates: what a model must show to become champion, and what is missing from its metrics."""

import math
from dataclasses import replace

import pytest
from registering import scores

from amd.evaluation.judged import Figures
from amd.registry.gates import OVERRIDE, Champion, Evidence, gather_evidence, judge


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


def own(
    *agreement: float | None, real: bool = True, drawn: bool = True, image: float = 0.6, odd: float = 0
) -> Evidence:
    """Of a model that was judged in videos 0, 1, …, and scored on drawn clips where `drawn`."""
    figures = {str(number): Figures(value, 0.8, odd, 0.2, None) for number, value in enumerate(agreement)}
    benchmark = ("builtin-clips: 6 sequences", "b") if drawn else ("no benchmark", "")
    return Evidence(0.1, image if drawn else math.nan, image if drawn else math.nan, *benchmark, real, figures)


@pytest.mark.parametrize(
    ("candidate", "champion", "passed", "word"),
    [
        # drawn clips decide between models that saw nothing else
        (own(real=False, image=0.5), own(real=False), False, "J per image 0.500 is more than 0.02 below the 0.600"),
        (own(0.1, real=False), own(0.9, real=False), True, "J 0.600 per image"),
        # and not otherwise, whatever they say
        (own(0.5, 0.5, image=0.1), own(0.4, 0.6, real=False), True, "motion evidence 0.500 on 2 held-out"),
        (own(0.5, 0.4, image=0.9), own(0.5, 0.5), True, "warning: agreement with motion evidence 0.450 on 2"),
        (own(image=0.9), own(real=False), False, "drawn clips do not decide between models of which one saw other"),
        (own(image=0.9, real=False), own(), False, "no video is held out (ingest.held_out)"),
        # only videos that both were judged in count
        (own(0.5, 0.1, drawn=False), own(0.5, None), True, "0.500 on 1 held-out videos"),
        (own(0.5, drawn=False), own(None, 0.5), False, "it was scored on no benchmark, and no video is held out"),
        (own(0.5), Champion("4", None), False, "registered without scores"),
        # a guard refuses what agrees
        (own(0.9, odd=0.6), own(0.1), False, "60% of its masks are of nothing or of most of the frame"),
        # a benchmark of others is used where both have it, held-out videos where one has not
        (evidence(image=0.5), evidence(), False, "below the 0.600 of champion version 4, on davis2016 x"),
        (own(0.5), evidence(), False, "scored on something else (davis2016 x)"),
    ],
)  # fmt: skip
def test_what_decides_after_a_champion(candidate, champion, passed, word):
    verdict = judge(candidate, champion if isinstance(champion, Champion) else Champion("4", champion), 0.02)
    assert (verdict.passed, word in verdict.reason) == (passed, True), verdict.reason
    assert passed or verdict.reason.endswith(OVERRIDE)


def test_the_first_champion_by_what_there_is():
    assert judge(own(0.5, 0.3), None, 0.02).reason.endswith("agreement with motion evidence 0.400 on 2 held-out videos")
    assert judge(own(real=False), None, 0.02).reason.endswith("J 0.600 per image, 0.600 adapted")
    assert "nothing else to judge it by" in judge(own(drawn=False), None, 0.02).reason
    assert not judge(own(0.5, odd=0.9), None, 0.02).passed


def test_evidence_survives_its_tags():
    exact = replace(evidence(loss=1 / 3, image=0.1 + 0.2), held_out=own(0.25, None).held_out, real=True)
    assert Evidence.from_tags(exact.tags()) == exact
    assert Evidence.from_tags({**exact.tags(), "held_out": "[1]"}) is None
    old = {key: value for key, value in exact.tags().items() if key not in ("held_out", "data.real")}
    assert Evidence.from_tags(old) == replace(exact, held_out={}, real=False)
    assert Evidence.from_tags({**exact.tags(), "loss": "a lot"}) is None
    assert Evidence.from_tags({}) is None


def test_metrics_that_lack_a_part_give_evidence_that_is_refused():
    whole = scores(0.6, 0.7)
    assert judge(gather_evidence({"loss": 0.1}, whole), None, 0.02).passed
    for training, result, word in (
        ({}, whole, "loss is nan"),
        ({"loss": "low"}, whole, "loss is nan"),
        ({"loss": 0.1}, {**whole, "summary": {"image": whole["summary"]["image"]}}, "adapted J is nan"),
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
