"""Scores of saved masks as text: in, a benchmark and a folder of masks; out, the table with its protocol, and JSON."""

from pathlib import Path

from amd.data.benchmarks import open_benchmark
from amd.evaluation.published import FULL, published_vos
from amd.evaluation.vos import score_baselines, score_masks
from amd.files import write_json
from amd.metrics import Statistics


def run_score(dataset: str, root: Path, predictions: Path, json_path: Path | None) -> None:
    """Score masks that anything produced; print the table, write the JSON when `json_path` is given."""
    sequences = open_benchmark(dataset, root)
    scores = score_masks(sequences, Path(predictions))
    scores["baselines"] = score_baselines(sequences)[0]
    scores["published"] = published_vos(dataset)
    print(format_scores(scores))
    if json_path:
        write_json(json_path, scores)


def format_scores(scores: dict) -> str:
    """The scores of `score_masks` as text: a line per sequence, the mean, the protocol."""
    width = max(len(name) for name in [*scores["sequences"], *scores.get("baselines", {}), "sequence"])
    heads = [f"{measure} {key}" for measure in "JF" for key in Statistics._fields]
    lines = [f"{'sequence':{width}}" + "".join(f"{head:>10}" for head in heads)]
    for name, measures in [*scores["sequences"].items(), ("mean", scores["mean"])]:
        numbers = [measures[measure][key] for measure in "JF" for key in Statistics._fields]
        lines.append(f"{name:{width}}" + "".join(f"{number:10.3f}" for number in numbers))
    for name, result in scores.get("baselines", {}).items():
        numbers = [result["mean"][measure][key] for measure in "JF" for key in Statistics._fields]
        below = scores["mean"]["J"]["mean"] < result["mean"]["J"]["mean"]
        note = "  the masks score below this row, which learns nothing" if below else ""
        lines.append(f"{name:{width}}" + "".join(f"{number:10.3f}" for number in numbers) + note)
    lines += _average_lines(scores)
    if known := scores.get("published"):
        rows = ", ".join(f"{method} {j:.3f}" for method, j in known["J"].items())
        lines.append(f"{FULL} ({known['size']}), J over {known['average']}: {rows}")
    return "\n".join(lines + [f"{key}: {value}" for key, value in scores["protocol"].items()])


def _average_lines(scores: dict) -> list[str]:
    """The three averages side by side, of the masks and of the rows without learning."""
    rows = {"masks": scores["averages"]} | {
        name: result["averages"] for name, result in scores.get("baselines", {}).items()
    }
    width = max(len("over"), *(len(name) for name in rows))
    lines = ["", f"{'over':{width}}" + "".join(f"{head:>12}" for head in ("sequences", "frames", "pooled"))]
    for name, averages in rows.items():
        cells = "".join(f"{averages[kind]['J']:12.3f}" for kind in ("sequences", "frames", "pooled"))
        lines.append(f"{name:{width}}{cells}")
    return [*lines, f"J compared with the literature's: over {scores['protocol']['compared']}", ""]
