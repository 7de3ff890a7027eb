"""The report of a pipeline run: what its stages left behind, as one HTML file that needs nothing else.

Enters: the contents of the stages' files, read by whoever calls. Leaves: the page, with its pictures, figures, style
and script inside. Anything that a run lacks is None here and a line there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from amd.data.validation import reason_counts
from amd.files import write_text
from amd.objectness import SMALLEST_AREA, choices
from amd.params import Params
from amd.report.flow_colours import colour_wheel
from amd.report.pictures import FALSE_ALARM, HIT, MISS, SequencePictures, png_uri, segment_colour
from amd.report.plots import segment_plots, training_plots

TITLES = {
    "image": "per image",
    "adapted": "adapted",
    "centre_box": "fixed centre box",
    "flow_outliers": "optical flow minus camera",
}
CRITERIA_TITLES = {
    "motion": "largest motion",
    "entropy": "least entropy",
    "reconstruction_error": "largest reconstruction error",
    "centre": "most central",
}
REJECTED_SHOWN = 200  # rows of the table; a large archive may have thousands


@dataclass(frozen=True)
class Findings:
    """Everything that the page tells of. Tables and JSON are as the stages wrote them; None where absent."""

    params: Params
    lineage: Mapping[str, str]  # git.*, params.sha256, mlflow.*, date, version.*, dvc.<path>
    manifest: Sequence[Mapping[str, Any]] | None = None  # rows of amd.tables.MANIFEST
    pairs: Sequence[Mapping[str, Any]] | None = None  # rows of amd.tables.PAIRS
    pretrain: Mapping[str, Any] | None = None  # metrics/pretrain.json
    objectness: Mapping[str, Any] | None = None  # metrics/objectness.json
    vos: Mapping[str, Any] | None = None  # metrics/vos.json
    sequences: Sequence[SequencePictures] = ()  # in the order of the page
    sequences_left_out: int = 0
    problems: Sequence[str] = field(default=())  # what could not be shown, a line each


def make_report(out: Path | str, findings: Findings) -> None:
    """Write the page atomically. Whatever text comes from data is escaped."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"signed": "{:+.3f}".format, "rgb": lambda colour: "rgb({}, {}, {})".format(*colour)}
    page = environment.get_template("template.html").render(
        findings=findings,
        verdict=verdict(findings),
        scores=score_view(findings.vos),
        data=data_view(findings.manifest, findings.pairs),
        training=training_view(findings),
        segments=segment_view(findings.objectness),
        titles=TITLES,
        legend={"hit": HIT, "miss": MISS, "false alarm": FALSE_ALARM},
        segment_colour=segment_colour,
        wheel=png_uri(colour_wheel(112)),
        rejected_shown=REJECTED_SHOWN,
    )
    write_text(out, page)


def verdict(findings: Findings) -> str:
    """The outcome in one paragraph."""
    if findings.vos is None:
        return "This run has no scores yet: metrics/vos.json is missing."
    scores = findings.vos["scores"]
    best = _judge(scores)
    protocol = scores[best]["label-free"]["protocol"]
    sentences = [
        f"J {_mean(scores, best, 'label-free'):.3f} on {protocol['sequences']} held-out sequences of "
        f"{protocol['dataset']} ({TITLES.get(best, best)} masks), with no label in training, in adaptation or in the "
        "choice of the object segment."
    ]
    if best == "adapted" and "image" in scores:
        sentences.append(_gain_in_words(scores))
    sentences += below_baselines(findings.vos)
    bound = f"{_mean(scores, best, 'oracle'):.3f}"
    if findings.objectness is not None:
        chosen, oracle = findings.objectness["object_segment"], scores[best]["oracle"]["segment"]
        sentences.append(
            f"Segment {chosen} was chosen by its motion, and the truth would pick it too."
            if chosen == oracle
            else f"Segment {chosen} was chosen by its motion; the truth would pick segment {oracle} and reach {bound}."
        )
    return " ".join(sentences)


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
    return [
        f"J {TITLES.get(name, name)} ({_mean(vos['scores'], name, 'label-free'):.3f}) is BELOW the "
        f"{TITLES.get(row, row)} ({result['mean']['J']['mean']:.3f}), which learns nothing."
        for name in vos["scores"]
        for row, result in vos.get("baselines", {}).items()
        if _mean(vos["scores"], name, "label-free") < result["mean"]["J"]["mean"]
    ]


def score_view(vos: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Headlines, a row of means per sequence (the worst first), and every number in long form."""
    if vos is None:
        return None
    scores = vos["scores"]
    judge = _judge(scores)
    predictions = [judge, *(name for name in scores if name != judge)]
    names = sorted(
        scores[judge]["label-free"]["sequences"],
        key=lambda name: scores[judge]["label-free"]["sequences"][name]["J"]["mean"],
    )
    combinations = [(name, choice) for choice in ("label-free", "oracle") for name in predictions]
    return {
        "predictions": predictions,
        "headlines": [{"prediction": name, "choice": choice, **scores[name][choice]} for name, choice in combinations],
        "protocol": scores[judge]["label-free"]["protocol"],
        "averages": {name: scores[name]["label-free"]["averages"] for name in predictions},
        "rows": [(name, _measures(scores, name)) for name in names],
        "mean": {name: {choice: scores[name][choice]["mean"] for choice in scores[name]} for name in predictions},
        "baselines": vos.get("baselines", {}),
        "below": below_baselines(vos),
        "long": [
            (sequence, name, choice, scores[name][choice]["sequences"][sequence])
            for sequence in names
            for name, choice in combinations
        ],
    }


def _measures(scores: Mapping[str, Any], sequence: str) -> dict[str, dict[str, Any]]:
    """{prediction: {choice: {"J": statistics, "F": statistics}}} of one sequence."""
    return {
        name: {choice: result["sequences"][sequence] for choice, result in choices.items()}
        for name, choices in scores.items()
    }


def data_view(
    manifest: Sequence[Mapping[str, Any]] | None, pairs: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """What came in and what of it is trained on."""
    view: dict[str, Any] = {"facts": {}, "reasons": [], "rejected": []}
    if manifest is not None:
        accepted = [row for row in manifest if row["status"] == "accepted"]
        view["rejected"] = [row for row in manifest if row["status"] == "rejected"]
        view["reasons"] = reason_counts(view["rejected"])
        view["facts"] |= {
            "inputs": len(manifest),
            "accepted": len(accepted),
            "rejected": len(view["rejected"]),
            "frames": sum(row["frames"] or 0 for row in accepted),
            "minutes": round(sum(row["duration_s"] or 0 for row in accepted) / 60, 1),
        }
    if pairs is not None:
        view["facts"] |= {
            "frame pairs": sum(row["pairs"] for row in pairs),
            "dropped as still": sum(row["dropped_still"] for row in pairs),
            "dropped as cuts": sum(row["dropped_cut"] for row in pairs),
            "videos without a pair": sum(row["pairs"] == 0 for row in pairs),
        }
    return view


def training_view(findings: Findings) -> dict[str, Any] | None:
    """Figures of the training, and its facts in words."""
    result = findings.pretrain
    if result is None or not result["curve"]:
        return None
    settings = findings.params.pretrain
    facts = {
        "iterations": f"{result['iterations']:,}",
        "final loss": f"{result['loss']:.4f}",
        "pairs per second": f"{result['pairs_per_s']:.1f}",
        "waiting for data": f"{result['data_wait_share']:.1%}",
        "memory": f"{result['memory_mb'] / 1024:.2f} GiB",
        "skipped steps": result["skipped_steps"],
    }
    plots = training_plots(result["curve"], settings.pairs * settings.processes)
    segments = sum(name.startswith("area_") for name in result["curve"][-1])
    return {"facts": facts, "plots": plots, "segments": segments}


def segment_view(objectness: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Figures and rows of the segments' statistics, and why one of them is the object."""
    if objectness is None:
        return None
    rows, chosen = objectness["segments"], objectness["object_segment"]
    return {
        "rows": rows,
        "chosen": chosen,
        "reason": choice_in_words(rows, chosen),
        "agreement": agreement_in_words(choices(rows)),
        "plots": segment_plots(rows, chosen),
    }


def choice_in_words(rows: Sequence[Mapping[str, float]], chosen: int) -> str:
    """Why `chosen` is the object segment (paper 3.5)."""
    of = {int(row["segment"]): row for row in rows}
    rule = (
        "The object is the segment that moves most on training videos, no label asked (paper 3.5); segments that "
        f"cover less than {SMALLEST_AREA:.0%} of the frame are no candidates."
    )
    rivals = [row for row in rows if row["segment"] != chosen and row["area"] >= SMALLEST_AREA]
    found = f"Segment {chosen} moves {of[chosen]['motion']:.2f} px per pair on average"
    if not rivals:
        return f"{found}, and no other segment is a candidate. {rule}"
    second = max(rivals, key=lambda row: row["motion"])
    rival = f"the next, segment {int(second['segment'])}, {second['motion']:.2f} px"
    return f"{found}; {rival}. {rule}"


def agreement_in_words(picks: Mapping[str, int]) -> str:
    """What each label-free criterion would take (amd.objectness.choices), and whether they agree."""
    found = ", ".join(f"{CRITERIA_TITLES[name]} segment {segment}" for name, segment in picks.items())
    verdict = "all criteria agree" if len(set(picks.values())) == 1 else "the criteria do not agree"
    return f"By criterion, {verdict}: {found}."


def _judge(scores: Mapping[str, Any]) -> str:
    """The prediction that sequences are ordered by: the adapted one where there is one."""
    return "adapted" if "adapted" in scores else next(iter(scores))


def _mean(scores: Mapping[str, Any], prediction: str, choice: str, measure: str = "J") -> float:
    return scores[prediction][choice]["mean"][measure]["mean"]
