"""Gates: whether a new model may take the champion's place, and the reason in words.

Enters: the evidence on both (training loss, label-free J per image and adapted, what J was measured on). Leaves:
a verdict. A model passes when its loss and both J are finite, and when neither J is below the champion's by more
than `max_drop`. J are compared only where the same frames were scored by the same protocol: against a champion
that was scored on something else, no model passes until someone takes the alias away from it.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

J_PER_IMAGE = "J.image"
J_ADAPTED = "J.adapted"


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
            "benchmark.sha256": self.benchmark,
        }

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "Evidence | None":
        """From a version's tags; None when they are not there, as on a version made by other means."""
        try:
            numbers = [float(tags[name]) for name in ("loss", J_PER_IMAGE, J_ADAPTED)]
            return cls(*numbers, tags["scored_on"], tags["benchmark.sha256"])
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
    label_free = scores["scores"]["image"]["label-free"]
    protocol = label_free["protocol"]
    identity = {"protocol": protocol, "sequences": sorted(label_free["sequences"]), "data": data_hash}
    summary = scores["summary"]
    return Evidence(
        loss=_number(training.get("loss")),
        image_j=_number(summary["image"]["label_free_J"]),
        adapted_j=_number(summary["adapted"]["label_free_J"]),
        scored_on=f"{protocol['dataset']}: {protocol['sequences']} sequences, {protocol['frames_scored']} frames, "
        f"{protocol['averaging']}",
        benchmark=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
    )


def judge(candidate: Evidence, champion: Champion | None, max_drop: float) -> Verdict:
    """Whether `candidate` may become champion after `champion` (None when there is none)."""
    numbers = {"loss": candidate.loss, "J per image": candidate.image_j, "adapted J": candidate.adapted_j}
    for name, value in numbers.items():
        if not math.isfinite(value):
            return Verdict(False, f"{name} is {value}, not a finite number")
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


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
