"""Video segmentation on the page.

Input: metrics/vos.json. Output: the verdict in words and the rows of its tables.
"""

import statistics
from collections.abc import Mapping
from typing import Any

from amd.evaluation.published import FULL
from amd.report.tables import Table, text

TITLES = {
    "image": "per image",
    "adapted": "adapted",
    "fused": "what moves: evidence and the adapted model",
    "motion": "what moves: evidence alone",
    "centre_box": "fixed centre box",
    "flow_outliers": "optical flow minus camera",
}

AVERAGES = ("sequences", "frames", "pooled")


def verdict(vos: Mapping[str, Any] | None, objectness: Mapping[str, Any] | None) -> str:
    """The outcome in one paragraph."""
    if vos is None:
        return "This run has no scores yet: metrics/vos.json is missing."
    scores = vos["scores"]
    best = _judge(scores)
    protocol = scores[best]["label-free"]["protocol"]
    sentences = [
        f"J {_mean(scores, best, 'label-free'):.3f} on {protocol['sequences']} held-out sequences of "
        f"{protocol['dataset']} ({TITLES.get(best, best)} masks), with no label in training, in adaptation or in the "
        "choice of the object segment."
    ]
    if best == "adapted" and "image" in scores:
        sentences.append(_gain_in_words(scores))
    sentences += below_baselines(vos)
    bound = f"{_mean(scores, best, 'oracle'):.3f}"
    if objectness is not None:
        chosen, oracle = objectness["object_segment"], scores[best]["oracle"]["segment"]
        sentences.append(
            f"Segment {chosen} was chosen by its motion, and the truth would pick it too."
            if chosen == oracle
            else f"Segment {chosen} was chosen by its motion; the truth would pick segment {oracle} and reach {bound}."
        )
    return " ".join(sentences)


def spread(by_seed: Mapping[str, float]) -> str:
    """What J other seeds of the same training gave, in words."""
    if len(by_seed) < 2:
        return "one seed; how far others lie is not known"
    mean, deviation = statistics.fmean(by_seed.values()), statistics.stdev(by_seed.values())
    return f"seeds {', '.join(sorted(by_seed))}: {mean:.3f} ± {deviation:.3f}"


def _gain_in_words(scores: Mapping[str, Any]) -> str:
    image, adapted = (scores[name]["label-free"]["sequences"] for name in ("image", "adapted"))
    gains = {name: adapted[name]["J"]["mean"] - image[name]["J"]["mean"] for name in adapted}
    better = sum(gain > 0 for gain in gains.values())
    change = _mean(scores, "adapted", "label-free") - _mean(scores, "image", "label-free")
    return (
        f"Adapting to each video changes J by {change:+.3f} against single images "
        f"({_mean(scores, 'image', 'label-free'):.3f}) and helps {better} of {len(gains)} sequences."
    )


def below_baselines(vos: Mapping[str, Any]) -> list[str]:
    """A sentence for every learned number that is below a row without learning."""
    sentences = []
    for name in vos["scores"]:
        learned = _mean(vos["scores"], name, "label-free")
        for row, result in vos.get("baselines", {}).items():
            if learned < (j := result["mean"]["J"]["mean"]):
                digits = 3 if f"{learned:.3f}" != f"{j:.3f}" else 5
                sentences.append(
                    f"J {TITLES.get(name, name)} ({learned:.{digits}f}) is BELOW the {TITLES.get(row, row)} "
                    f"({j:.{digits}f}), which learns nothing."
                )
    return sentences


def score_view(vos: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Headlines, a row of means per sequence (the worst first), and every number in long form."""
    if vos is None:
        return None
    scores = vos["scores"]
    judge = _judge(scores)
    predictions = [judge, *(name for name in scores if name != judge)]
    judged = scores[judge]["label-free"]["sequences"]
    names = sorted(judged, key=lambda name: judged[name]["J"]["mean"])
    baselines = vos.get("baselines", {})
    combinations = [(name, choice) for choice in ("label-free", "oracle") for name in predictions]
    return {
        "predictions": predictions,
        "headlines": [{"prediction": name, "choice": choice, **scores[name][choice]} for name, choice in combinations],
        "protocol": scores[judge]["label-free"]["protocol"],
        "methods": methods_table(vos, predictions),
        "published": published_table(vos.get("published")),
        "rows": [
            (name, _measures(scores, name), [result["sequences"][name] for result in baselines.values()])
            for name in names
        ],
        "mean": {name: {choice: scores[name][choice]["mean"] for choice in scores[name]} for name in predictions},
        "baselines": list(baselines),
        "baseline_means": [result["mean"] for result in baselines.values()],
        "below": below_baselines(vos),
        "long": [
            (sequence, name, choice, scores[name][choice]["sequences"][sequence])
            for sequence in names
            for name, choice in combinations
        ],
    }


def methods_table(vos: Mapping[str, Any], predictions: list[str]) -> Table:
    """Ours and the rows without learning side by side: J as each average has it, F, and who is above whom."""
    compared = vos["scores"][predictions[0]]["label-free"]["protocol"].get("compared", "sequences")
    heads = [f"J over {name}{' (compared)' if name == compared else ''}" for name in AVERAGES]
    learned = [(TITLES.get(name, name), vos["scores"][name]["label-free"]) for name in predictions]
    baselines = [(TITLES.get(name, name), result) for name, result in vos.get("baselines", {}).items()]
    rows = [_method_row(title, "label-free", result, _below(result, baselines)) for title, result in learned]
    moving = [(TITLES.get(name, name), result) for name, result in vos.get("moving", {}).items()]
    rows += [_method_row(title, "label-free", result, "needs no trained model") for title, result in moving]
    rows += [_method_row(title, "none", result, "learns nothing") for title, result in baselines]
    oracles = [(TITLES.get(name, name), vos["scores"][name]["oracle"]) for name in predictions]
    rows += [_method_row(f"{title}, oracle", "truth", result, "upper bound, no result") for title, result in oracles]
    return Table("", ("masks", "object chosen by", *heads, "F over sequences", "F over frames", ""), rows)


def _method_row(title: str, choice: str, result: Mapping[str, Any], note: str) -> tuple[str, ...]:
    averages = result["averages"]
    j = [text(averages[name]["J"]) for name in AVERAGES]
    return (title, choice, *j, text(averages["sequences"]["F"]), text(averages["frames"]["F"]), note)


def _below(result: Mapping[str, Any], baselines: list[tuple[str, Mapping[str, Any]]]) -> str:
    """Which rows without learning are above a learned one."""
    j = result["mean"]["J"]["mean"]
    above = [title for title, baseline in baselines if j < baseline["mean"]["J"]["mean"]]
    return f"BELOW {' and '.join(above)}" if above else ""


def published_table(published: Mapping[str, Any] | None) -> Table | None:
    """What the papers have for this benchmark (amd.evaluation.published.published_vos)."""
    if not published:
        return None
    rows: list[tuple[str, ...]] = [(method, text(j)) for method, j in published["J"].items()]
    words = "; ".join([f"{FULL}: {published['size']}", *filter(None, [published.get("note")])])
    return Table(words, ("method", f"J over {published['average']}"), rows)


def _measures(scores: Mapping[str, Any], sequence: str) -> dict[str, dict[str, Any]]:
    """{prediction: {choice: {"J": statistics, "F": statistics}}} of one sequence."""
    return {
        name: {choice: result["sequences"][sequence] for choice, result in choices.items()}
        for name, choices in scores.items()
    }


def _judge(scores: Mapping[str, Any]) -> str:
    """The prediction that sequences are ordered by: the adapted one where there is one."""
    return "adapted" if "adapted" in scores else next(iter(scores))


def _mean(scores: Mapping[str, Any], prediction: str, choice: str, measure: str = "J") -> float:
    return scores[prediction][choice]["mean"][measure]["mean"]
