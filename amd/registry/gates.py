"""Gates: whether a new model may take the champion's place, and the reason in words.

Input: the evidence on both (training loss, label-free J per image and adapted, what J was measured on, figures on
held-out videos). Output: a verdict. What was measured must be finite, and what the two are compared by may not be below
the champion's by more than `max_drop`:

- both J, where both were scored on the same frames by the same protocol; J on drawn clips only if neither model ever
  saw other videos;
- else agreement with motion evidence in the held-out videos that both were judged in (amd.evaluation.judged), whose
  guards the new model has to pass, too. A lower agreement alone only warns: it does not rank models as J does.

Where there is neither, nothing passes. Whoever knows better promotes it anyway, with a reason that is kept.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from amd.evaluation.judged import Figures, common, mean_figures
from amd.runtime.receipts import fingerprint

J_PER_IMAGE = "J.image"
J_ADAPTED = "J.adapted"
BENCHMARK_TAG = "benchmark.sha256"
REAL_TAG = "data.real"
HELD_OUT_TAG = "held_out"
DRAWN = "builtin-clips"
AGREEMENT = "agreement with motion evidence"
NO_VIDEOS = "no video is held out (ingest.held_out) that both have not seen and in which something moves for sure"
LOOK = "it need not be worse (docs/registry.md), so compare both models' masks, and roll back where they are"
OVERRIDE = "`amd models promote NAME VERSION --anyway --reason WHY` overrides"
PAIR_ACCURACY_TAG = "pair_accuracy"  # only an instance embedding's version has it


@dataclass(frozen=True)
class Evidence:
    """What the gates look at; kept as tags of the model version."""

    loss: float  # of pretraining
    image_j: float  # label-free
    adapted_j: float
    scored_on: str  # for people: dataset and protocol in short
    benchmark: str  # hash of dataset, sequences, data and protocol; empty: nothing labelled was scored
    real: bool = False  # whether it is known to have seen videos that are not drawn
    held_out: Mapping[str, Figures] = field(default_factory=dict)  # by the video's hash

    @property
    def drawn(self) -> bool:
        """Whether J were measured on the built-in clips."""
        return self.scored_on.partition(":")[0] == DRAWN

    @property
    def scores(self) -> str:
        """Both J in words."""
        return f"J {self.image_j:.3f} per image, {self.adapted_j:.3f} adapted"

    def tags(self) -> dict[str, str]:
        """As tags of a model version; `from_tags` reads them."""
        return {
            "loss": repr(self.loss),
            J_PER_IMAGE: repr(self.image_j),
            J_ADAPTED: repr(self.adapted_j),
            "scored_on": self.scored_on,
            BENCHMARK_TAG: self.benchmark,
            REAL_TAG: str(self.real).lower(),
            HELD_OUT_TAG: figures_tag(self.held_out),
        }

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "Evidence | None":
        """From a version's tags; None when they are not there, as on a version made by other means."""
        try:
            loss, image_j, adapted_j = (float(tags[name]) for name in ("loss", J_PER_IMAGE, J_ADAPTED))
            held_out = {key: Figures(*row) for key, row in json.loads(tags.get(HELD_OUT_TAG, "{}")).items()}
            real = tags.get(REAL_TAG) == "true"
            return cls(loss, image_j, adapted_j, tags["scored_on"], tags[BENCHMARK_TAG], real, held_out)
        except (KeyError, ValueError, TypeError, AttributeError):
            return None


NOTHING_KNOWN = Evidence(math.nan, math.nan, math.nan, "", "")


def figures_tag(held_out: Mapping[str, Figures]) -> str:
    """Figures by video, as a tag of a version."""
    return json.dumps({key: list(figures.rounded().values()) for key, figures in sorted(held_out.items())})


class Verdict(NamedTuple):
    """Whether the gates let a model through, and why."""

    passed: bool
    reason: str


class Champion(NamedTuple):
    """The version that has the alias."""

    version: str
    evidence: Evidence | None


def gather_evidence(
    training: dict,
    scores: dict,
    data_hash: str | None = None,
    real: bool = False,
    held_out: Mapping[str, Figures] | None = None,
) -> Evidence:
    """From the contents of metrics/pretrain.json and metrics/vos.json; a number that is not there is NaN.

    `scores` are empty where nothing labelled was scored; `data_hash` tells benchmarks apart that have the same names
    and sizes; `real` and `held_out` see Evidence.
    """
    label_free = _part(scores, "scores", "image", "label-free")
    protocol = _part(label_free, "protocol")
    identity = {"protocol": protocol, "sequences": sorted(_part(label_free, "sequences")), "data": data_hash}
    words = "{dataset}: {sequences} sequences, {frames_scored} frames, {averaging}"
    return Evidence(
        loss=_number(training.get("loss")),
        image_j=_number(_part(scores, "summary", "image").get("label_free_J")),
        adapted_j=_number(_part(scores, "summary", "adapted").get("label_free_J")),
        scored_on=words.format_map(defaultdict(lambda: "unknown", protocol)) if scores else "no benchmark",
        benchmark=fingerprint(identity) if scores else "",
        real=real,
        held_out=held_out or {},
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
    words, theirs = f"pair accuracy {accuracy:.3f}", f"the {before:.3f} of {holder}"
    if round(before - accuracy, 9) > max_drop:
        return Verdict(False, f"{words} is more than {max_drop:g} below {theirs}")
    return Verdict(True, f"{words}; not below {theirs} by more than {max_drop:g}")


def judge(candidate: Evidence, champion: Champion | None, max_drop: float) -> Verdict:
    """Whether `candidate` may become champion after `champion` (None when there is none); a refusal says the way on."""
    verdict = _unfit(candidate) or _compare(candidate, champion, max_drop)
    return verdict if verdict.passed else Verdict(False, f"{verdict.reason}; {OVERRIDE}")


def _unfit(candidate: Evidence) -> Verdict | None:
    """The refusal of a model that diverged, whatever it stands against."""
    numbers = {"loss": candidate.loss}
    if candidate.benchmark:
        numbers |= {"J per image": candidate.image_j, "adapted J": candidate.adapted_j}
    for name, value in numbers.items():
        if not math.isfinite(value):
            return Verdict(False, f"{name} is {value}, not a finite number: it diverged or was never measured")
    return None


def _compare(candidate: Evidence, champion: Champion | None, max_drop: float) -> Verdict:
    """By the benchmark where that decides, else by held-out videos."""
    if champion is None:
        return _first(candidate)
    known = champion.evidence or NOTHING_KNOWN
    scored_alike = candidate.benchmark != "" and known.benchmark == candidate.benchmark
    if scored_alike and not (candidate.drawn and (candidate.real or known.real)):
        return _by_benchmark(candidate, known, f"champion version {champion.version}", max_drop)
    return _by_held_out(candidate, champion, max_drop)


def _first(candidate: Evidence) -> Verdict:
    if candidate.benchmark and not (candidate.drawn and candidate.real):
        return Verdict(True, f"the first champion: finite loss, {candidate.scores}")
    mean = mean_figures(candidate.held_out.values())
    if mean.problem:
        return Verdict(False, f"on {len(candidate.held_out)} held-out videos {mean.problem}")
    if mean.agreement is None:
        return Verdict(True, "the first champion: finite loss, and nothing else to judge it by")
    videos = f"{len(candidate.held_out)} held-out videos"
    return Verdict(True, f"the first champion: finite loss, {AGREEMENT} {mean.agreement:.3f} on {videos}")


def _by_benchmark(candidate: Evidence, known: Evidence, holder: str, max_drop: float) -> Verdict:
    for name, new, old in (
        ("J per image", candidate.image_j, known.image_j),
        ("adapted J", candidate.adapted_j, known.adapted_j),
    ):
        if round(old - new, 9) > max_drop:  # a drop of just max_drop passes
            below = f"is more than {max_drop:g} below the {old:.3f} of {holder}"
            return Verdict(False, f"{name} {new:.3f} {below}, on {candidate.scored_on}")
    were = f"{known.image_j:.3f} and {known.adapted_j:.3f} of {holder}"
    return Verdict(True, f"{candidate.scores}; not below the {were} by more than {max_drop:g}")


def _by_held_out(candidate: Evidence, champion: Champion, max_drop: float) -> Verdict:
    """By agreement in the videos that neither model was trained on."""
    holder, known = f"champion version {champion.version}", champion.evidence or NOTHING_KNOWN
    videos = common(candidate.held_out, known.held_out)
    if not videos:
        return Verdict(False, f"{_no_benchmark(candidate, champion)}, and {NO_VIDEOS}")
    mean = mean_figures(candidate.held_out.values())
    if mean.problem:
        return Verdict(False, f"on {len(candidate.held_out)} held-out videos {mean.problem}")
    means = [mean_figures(each.held_out[key] for key in videos).agreement or 0.0 for each in (candidate, known)]
    new, old = (round(value, 9) for value in means)
    words = f"{AGREEMENT} {new:.3f} on {len(videos)} held-out videos"
    if round(old - new, 9) > max_drop:
        return Verdict(True, f"warning: {words} is more than {max_drop:g} below the {old:.3f} of {holder}; {LOOK}")
    return Verdict(True, f"{words}; not below the {old:.3f} of {holder} by more than {max_drop:g}")


def _no_benchmark(candidate: Evidence, champion: Champion) -> str:
    """Why no benchmark compares the two."""
    holder, known = f"champion version {champion.version}", champion.evidence
    if known is None:
        return f"{holder} was registered without scores"
    if not candidate.benchmark:
        return "it was scored on no benchmark"
    if known.benchmark != candidate.benchmark:
        return f"{holder} was scored on something else ({known.scored_on}), so J do not compare"
    return f"{candidate.scored_on}: drawn clips do not decide between models of which one saw other videos"


def _part(tree: Any, *keys: str) -> Mapping[str, Any]:
    """The object below `keys`; empty when there is none, as in metrics of another version."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
