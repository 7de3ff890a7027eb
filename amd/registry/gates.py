"""Gates: whether a new model may take the champion's place, and the reason in words.

Input: the evidence on both (training loss, label-free J per image and adapted, what J was measured on). Output:
a verdict. A model passes when its loss and both J are there and finite, and when neither J is below the champion's by
more than `max_drop`. J are compared only where the same frames were scored by the same protocol: against a champion
that was scored on something else, no model passes until someone takes the alias away from it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from amd.runtime.receipts import fingerprint

J_PER_IMAGE = "J.image"
J_ADAPTED = "J.adapted"
BENCHMARK_TAG = "benchmark.sha256"
PAIR_ACCURACY_TAG = "pair_accuracy"  # only an instance embedding's version has it


@dataclass(frozen=True)
class Evidence:
    """What the gates look at; kept as tags of the model version."""

    loss: float  # of pretraining
    image_j: float  # label-free
    adapted_j: float
    scored_on: str  # for people: dataset and protocol in short
    benchmark: str  # hash of dataset, sequences, data and protocol

    def tags(self) -> dict[str, str]:
        """As tags of a model version; `from_tags` reads them."""
        return {
            "loss": repr(self.loss),
            J_PER_IMAGE: repr(self.image_j),
            J_ADAPTED: repr(self.adapted_j),
            "scored_on": self.scored_on,
            BENCHMARK_TAG: self.benchmark,
        }

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "Evidence | None":
        """From a version's tags; None when they are not there, as on a version made by other means."""
        try:
            loss, image_j, adapted_j = (float(tags[name]) for name in ("loss", J_PER_IMAGE, J_ADAPTED))
            return cls(loss, image_j, adapted_j, tags["scored_on"], tags[BENCHMARK_TAG])
        except (KeyError, ValueError):
            return None


class Verdict(NamedTuple):
    """Whether the gates let a model through, and why."""

    passed: bool
    reason: str


class Champion(NamedTuple):
    """The version that has the alias."""

    version: str
    evidence: Evidence | None


def gather_evidence(training: dict, scores: dict, data_hash: str | None = None) -> Evidence:
    """From the contents of metrics/pretrain.json and metrics/vos.json; a number that is not there is NaN.

    `data_hash` tells benchmarks apart that have the same names and sizes.
    """
    label_free = _part(scores, "scores", "image", "label-free")
    protocol = _part(label_free, "protocol")
    identity = {"protocol": protocol, "sequences": sorted(_part(label_free, "sequences")), "data": data_hash}
    words = "{dataset}: {sequences} sequences, {frames_scored} frames, {averaging}"
    return Evidence(
        loss=_number(training.get("loss")),
        image_j=_number(_part(scores, "summary", "image").get("label_free_J")),
        adapted_j=_number(_part(scores, "summary", "adapted").get("label_free_J")),
        scored_on=words.format_map(defaultdict(lambda: "unknown", protocol)),
        benchmark=fingerprint(identity),
    )


def judge_embedding(
    tags: Mapping[str, str], champion: tuple[str, Mapping[str, str]] | None, max_drop: float
) -> Verdict:
    """Whether an instance embedding may become champion after another, given as version and tags (None: no champion).

    It passes when its pair accuracy on held-out images is finite and not below the champion's by more than `max_drop`,
    measured on the same images in the same way.
    """
    accuracy = float(tags.get(PAIR_ACCURACY_TAG, "nan"))
    if not math.isfinite(accuracy):
        return Verdict(False, f"pair accuracy is {accuracy}, not a finite number")
    if champion is None:
        return Verdict(True, f"the first champion: pair accuracy {accuracy:.3f}")
    version, held = champion
    holder, before = f"champion version {version}", float(held.get(PAIR_ACCURACY_TAG, "nan"))
    if held.get(BENCHMARK_TAG) != tags.get(BENCHMARK_TAG) or not math.isfinite(before):
        return Verdict(False, f"{holder} was scored on something else; take the alias from it to start anew")
    if round(before - accuracy, 9) > max_drop:
        return Verdict(
            False, f"pair accuracy {accuracy:.3f} is more than {max_drop:g} below the {before:.3f} of {holder}"
        )
    return Verdict(
        True, f"pair accuracy {accuracy:.3f}; not below the {before:.3f} of {holder} by more than {max_drop:g}"
    )


def judge(candidate: Evidence, champion: Champion | None, max_drop: float) -> Verdict:
    """Whether `candidate` may become champion after `champion` (None when there is none)."""
    numbers = {"loss": candidate.loss, "J per image": candidate.image_j, "adapted J": candidate.adapted_j}
    for name, value in numbers.items():
        if not math.isfinite(value):
            return Verdict(False, f"{name} is {value}, not a finite number: it diverged or was never measured")
    scores = f"J {candidate.image_j:.3f} per image, {candidate.adapted_j:.3f} adapted"
    if champion is None:
        return Verdict(True, f"the first champion: finite loss, {scores}")
    holder = f"champion version {champion.version}"
    known = champion.evidence
    if known is None or known.benchmark != candidate.benchmark:
        other = f"scored on something else ({known.scored_on})" if known else "registered without scores"
        return Verdict(False, f"{holder} was {other}, so J do not compare; take the alias from it to start anew")
    for name, new, old in (
        ("J per image", candidate.image_j, known.image_j),
        ("adapted J", candidate.adapted_j, known.adapted_j),
    ):
        if round(old - new, 9) > max_drop:  # a drop of just max_drop passes
            return Verdict(False, f"{name} {new:.3f} is more than {max_drop:g} below the {old:.3f} of {holder}")
    were = f"{known.image_j:.3f} and {known.adapted_j:.3f} of {holder}"
    return Verdict(True, f"{scores}; not below the {were} by more than {max_drop:g}")


def _part(tree: Any, *keys: str) -> Mapping[str, Any]:
    """The object below `keys`; empty when there is none, as in metrics of another version."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
