"""The report of a pipeline run: what its stages left behind, as one HTML file that needs nothing else.

Input: the contents of the stages' files, read by whoever calls. Output: the page, with its pictures, figures, style
and script inside. Anything that a run lacks is None here and a line there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from amd.config import Params
from amd.data.ingest.report import reason_counts
from amd.draw.colours import colour_wheel, segment_colour
from amd.draw.plots import segment_plots, training_plots
from amd.report.evaluations import Section
from amd.report.pictures import FALSE_ALARM, HIT, MISS, SequencePictures, png_uri, within_budget
from amd.report.vos_view import TITLES, score_view, spread, verdict
from amd.runtime.files import write_text
from amd.training.objectness import SMALLEST_AREA, choices

CRITERIA_TITLES = {
    "motion": "largest motion",
    "entropy": "least entropy",
    "reconstruction_error": "largest reconstruction error",
    "centre": "most central",
}
PICTURED = "models/amd.safetensors, predictions and the benchmark"  # what pictures of sequences need
REJECTED_SHOWN = 200  # rows of the table; a large archive may have thousands


@dataclass(frozen=True)
class Findings:
    """Everything that the page tells of. Tables and JSON are as the stages wrote them; None where absent."""

    params: Params
    lineage: Mapping[str, str]  # git.*, params.sha256, mlflow.*, date, version.*, dvc.<path>
    links: Mapping[str, str] = field(default_factory=dict)  # addresses in MLflow: of the "run", of its "model"
    manifest: Sequence[Mapping[str, Any]] | None = None  # rows of amd.data.tables.MANIFEST
    pairs: Sequence[Mapping[str, Any]] | None = None  # rows of amd.data.tables.PAIRS
    pretrain: Mapping[str, Any] | None = None  # metrics/pretrain.json
    objectness: Mapping[str, Any] | None = None  # metrics/objectness.json
    vos: Mapping[str, Any] | None = None  # metrics/vos.json
    seeds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # label-free J of masks by the seed
    evaluations: Sequence[Section] = ()  # see amd.report.evaluations
    sequences: Sequence[SequencePictures] = ()  # in the order of the page
    sequences_left_out: int = 0
    problems: Sequence[str] = field(default=())  # what could not be shown, a line each


def make_report(out: Path | str, findings: Findings) -> None:
    """Write the page atomically. Whatever text comes from data is escaped."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"signed": "{:+.3f}".format, "rgb": lambda colour: "rgb({}, {}, {})".format(*colour)}
    page = environment.get_template("template.html").render(
        findings=findings,
        verdict=verdict(findings.vos, findings.objectness),
        scores=score_view(findings.vos),
        spread={masks: spread(by_seed) for masks, by_seed in findings.seeds.items()},
        data=data_view(findings.manifest, findings.pairs),
        training=training_view(findings),
        segments=segment_view(findings.objectness),
        titles=TITLES,
        legend={"hit": HIT, "miss": MISS, "false alarm": FALSE_ALARM},
        segment_colour=segment_colour,
        wheel=png_uri(colour_wheel(112)),
        rejected_shown=REJECTED_SHOWN,
        sequences=within_budget(findings.sequences),
        evaluations=[section for section in findings.evaluations if not section.absent],
        absent=absent(findings),
    )
    write_text(out, page)


def absent(findings: Findings) -> dict[str, str]:
    """What has no section in this page, and what would make one."""
    parts = {
        "Data": (findings.manifest or findings.pairs, "data/manifest.parquet and data/shards/pairs.parquet"),
        "Training": ((findings.pretrain or {}).get("curve"), "metrics/pretrain.json"),
        "Segments": (findings.objectness, "metrics/objectness.json"),
        "Scores": (findings.vos, "metrics/vos.json"),
        "Sequences": (findings.sequences, "; ".join(findings.problems) or PICTURED),
    }
    missing = {title: how for title, (there, how) in parts.items() if not there}
    return missing | {each.evaluation.title: each.absent for each in findings.evaluations if each.absent}


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
            "held out": len(manifest) - len(accepted) - len(view["rejected"]),
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
    plots = training_plots(result["curve"], settings.batch_size * settings.processes)
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
    """What each label-free criterion would take (amd.training.objectness.choices), and whether they agree."""
    found = ", ".join(f"{CRITERIA_TITLES[name]} segment {segment}" for name, segment in picks.items())
    verdict = "all criteria agree" if len(set(picks.values())) == 1 else "the criteria do not agree"
    return f"By criterion, {verdict}: {found}."
