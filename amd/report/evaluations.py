"""The page's sections of evaluations.

Input: what metrics/ holds of each. Output: sentences, tables and pictures.

An evaluation is shown when metrics/<name>*.json is there, with every metrics/<name>*.png; else its name stands in the
line of what was not run. What the literature has stands apart from what was measured here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from amd.data.images import image_size
from amd.draw.plots import ACCENT, Plot, add_tip, as_svg
from amd.evaluation.published import FULL
from amd.report.pictures import file_uri
from amd.report.tables import Table, grouped, listed, result_facts, result_tables, spoken, text
from amd.runtime.errors import UserError
from amd.runtime.files import read_json

NARROW = 700  # pixels

Report = Mapping[str, Any]


class Evaluation(NamedTuple):
    """What the page knows of an evaluation beforehand."""

    name: str  # of its files in metrics/, and of its section
    title: str
    command: str  # that runs it
    lead: Callable[[Report], str] | None = None  # the outcome in a sentence
    plots: Callable[[Report], list[Plot]] | None = None
    captions: Mapping[str, str] = MappingProxyType({})  # of pictures, by the stem of the file


@dataclass
class Part:
    """One file of results."""

    title: str
    lead: str = ""
    plots: list[Plot] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    published: list[Table] = field(default_factory=list)
    protocol: Table | None = None


class Picture(NamedTuple):
    """A picture on the page."""

    caption: str
    uri: str
    narrow: bool  # a single figure, which may shrink to a phone's width; a sheet of pictures may not


@dataclass
class Section:
    """An evaluation on the page."""

    evaluation: Evaluation
    parts: list[Part] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # why something of it is not there
    absent: str = ""  # why there is no section at all, and what makes one


def sections(folder: Path) -> list[Section]:
    """A section for every evaluation, from the files in `folder`."""
    return [_section(evaluation, folder) for evaluation in EVALUATIONS]


def _section(evaluation: Evaluation, folder: Path) -> Section:
    section = Section(evaluation)
    for path in sorted(folder.glob(f"{evaluation.name}*.json")):
        try:
            _add(section, path, read_json(path))
        except UserError as error:
            section.notes.append(str(error))
    if not section.parts and not section.notes:
        section.absent = section.absent or evaluation.command
    for path in sorted(folder.glob(f"{evaluation.name}*.png")) if section.parts else ():
        try:
            caption = evaluation.captions.get(path.stem, spoken(path.stem))
            section.pictures.append(Picture(caption, file_uri(path), image_size(path)[1] <= NARROW))
        except UserError as error:
            section.notes.append(str(error))
    return section


def _add(section: Section, path: Path, report: Any) -> None:
    """Add a file's part, or why it was skipped."""
    command = section.evaluation.command
    if not isinstance(report, dict):
        raise UserError(f"{path}: no results of {section.evaluation.title.lower()}; run {command} again")
    if "skipped" in report:
        section.absent = f"{report['skipped']}; {command}"
        return
    try:
        section.parts.append(_part(section.evaluation, path, report))
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: of another version; run {command} again") from None


def _part(evaluation: Evaluation, path: Path, report: Report) -> Part:
    protocol = report.get("protocol") or _inner_protocols(report)
    main = path.stem == evaluation.name
    return Part(
        title="" if main else spoken(path.stem),
        lead=evaluation.lead(report) if evaluation.lead and main else "",
        plots=evaluation.plots(report) if evaluation.plots and main else [],
        facts=result_facts(report),
        tables=result_tables(report),
        published=_published(report.get("published")),
        protocol=listed("", protocol) if protocol else None,
    )


def _inner_protocols(report: Report) -> dict[str, Any]:
    """The protocols of a report that has one per data set."""
    return {
        name: value["protocol"] for name, value in report.items() if isinstance(value, dict) and "protocol" in value
    }


def _published(published: Any) -> list[Table]:
    """What the literature has, in the file's own words."""
    if not published:
        return []
    entries = published if isinstance(published, Mapping) else {"": published}
    words = f"{FULL}: " + "; ".join(str(value) for value in entries.values() if not isinstance(value, Mapping))
    groups = [group for group in entries.values() if isinstance(group, Mapping)]
    return [grouped(words, group) for group in groups] or [Table(words, (), [])]


def _adaptation(report: Report) -> str:
    each = report["seconds"] / max(1, report["videos"])  # several are adapted at once: their sum is nobody's time
    return f"{report['videos']} videos, {each:.0f} s each, {report['failed']} failed."


def _saliency(report: Report) -> str:
    f, protocol = report["F"], report["protocol"]
    return (
        f"F {f['adaptive']:.3f} with the adaptive threshold ({f['max']:.3f} at its maximum, {f['mean']:.3f} on "
        f"average) and MAE {report['MAE']:.3f} on {protocol['images']} images."
    )


def _robustness(report: Report) -> str:
    scores, protocol = report["scores"], report["protocol"]
    words = ", ".join(f"{text(values['foreground_iou'])} {spoken(name)}" for name, values in scores.items())
    return f"Foreground IoU, pooled over {protocol['frames_scored']} frames: {words}."


def _features(report: Report) -> str:
    probe, protocol = report["probe_accuracy"]["mean"], report["protocol"]
    judged = (
        f"with balanced accuracy {probe:.3f} (chance 0.5)" if probe is not None else "on one video alone: not judged"
    )
    return (
        f"A linear probe tells foreground from background pixels of videos that it was not fitted on {judged}; their "
        f"silhouette is {report['silhouette']:.3f} ({protocol['pixels']} pixels of {protocol['videos']} videos)."
    )


def _semantic(report: Report) -> str:
    groups = ", ".join(
        f"{text(values['mean'])}{'' if values['deviation'] is None else ' ± ' + text(values['deviation'])} {name}"
        for name, values in report["mIoU"].items()
    )
    seeds = max(values["seeds"] for values in report["mIoU"].values())
    return f"mIoU on {report['protocol']['images']} images, mean and deviation over {seeds} seeds: {groups}."


def _sweep(report: Report) -> str:
    words = ", ".join(f"{text(numbers['label_free_J'])} with {c}" for c, numbers in report["segments"].items())
    return f"Label-free J by the number of segments, each a training of its own: {words}. One seed each."


def _version_plots(report: Report) -> list[Plot]:
    return [version_plot(report["scores"], report["published"]["scores"])]


EVALUATIONS = (
    Evaluation(
        "example", "A real clip, without a model", "dvc repro example",
        captions={"example": "Frames of examples/ with the mask of what moves (`amd segment`), which no label taught."},
    ),
    Evaluation("adapt", "Adaptation", "dvc repro adapt", _adaptation),
    Evaluation(
        "robustness", "Robustness", "dvc repro evaluate_robustness", _robustness, _version_plots,
        {"robustness": "The middle frame of the first sequences in every version, and below it its mask."},
    ),
    Evaluation(
        "features", "Foreground and background features", "dvc repro evaluate_features", _features,
        captions={"features": "Pixels in the plane of two components, and the density of each side."},
    ),
    Evaluation(
        "saliency", "Saliency", "dvc repro evaluate_saliency", _saliency,
        captions={"saliency": "Image, map and truth, from the worst map to the best."},
    ),
    Evaluation(
        "semantic", "Semantic fine-tuning", "dvc repro pipelines/semantic/dvc.yaml", _semantic,
        captions={
            "semantic": "Images, their truth, and what was predicted from each start.",
            "semantic_scores": "mIoU from each start: a point per seed, a line at their mean.",
        },
    ),
    Evaluation(
        "sweep", "Number of segments", "dvc repro pipelines/sweep/dvc.yaml", _sweep,
        captions={
            "sweep": "J against the number of segments.",
            "sweep_masks": "The segments of some frames for each number of them, the object outlined in white.",
        },
    ),
    Evaluation("embedding", "Instance embeddings", "dvc repro pipelines/transfer/dvc.yaml"),
    Evaluation("transfer", "Instance embedding transfer", "dvc repro pipelines/transfer/dvc.yaml"),
)  # fmt: skip


PALE = "#8d95a1"


def version_plot(
    scores: Mapping[str, Mapping[str, float | None]], published: Mapping[str, Mapping[str, float]]
) -> Plot:
    """Foreground IoU of every version of the frames as bars, the published ones as ticks on them."""
    measure = "foreground_iou"

    def draw(axes: Axes) -> None:
        for place, (name, values) in enumerate(scores.items()):
            value = 100 * (values[measure] or 0)  # None: no frame of it has an object
            (bar,) = axes.barh(place, value, 0.6, color=ACCENT, alpha=1 if name == "normal" else 0.55)
            said = "–" if values[measure] is None else f"{value:.1f}"
            add_tip(bar, f"{spoken(name)}, IoU: {said} %")
            axes.text(value + 1, place, said, va="center")
            if name in published:
                axes.plot([100 * published[name][measure]] * 2, [place - 0.42, place + 0.42], color=PALE, linewidth=2)
        axes.set_yticks(range(len(scores)), [name.replace("_", " ") for name in scores])
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("IoU, %")
        axes.tick_params(axis="y", length=0)

    note = "pooled; grey: published on YouTube-VOS, which is other data"
    return Plot("Foreground IoU", note, as_svg(draw, (3.7, 0.8 + 0.24 * len(scores))))
