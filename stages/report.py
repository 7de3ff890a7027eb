"""Stage report: what every stage left behind, with pictures of the held-out sequences.

Input: metrics/*, data/manifest.parquet, data/shards, models/amd.safetensors, predictions, the benchmark. Output:
report/report.html, metrics/scores.json, metrics/summary.json.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from amd.config import Params
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.data.benchmarks.predictions import masks_folder
from amd.data.tables import MANIFEST, PAIRS, read_table
from amd.models.amd import AMD
from amd.models.loading import open_as
from amd.registry.gates import gather_evidence
from amd.registry.model_card import data_facts
from amd.registry.registration import recipe_tags, trainings_alike
from amd.report.evaluations import sections
from amd.report.page import Findings, make_report
from amd.report.pictures import SequencePictures, picture_sequence
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, write_json
from amd.runtime.progress import progress
from amd.runtime.tracking import Run
from stages import locked_hashes, run_stage
from stages.evaluate_vos import PREDICTIONS

OUT = Path("report/report.html")
SCORES, SUMMARY = Path("metrics/scores.json"), Path("metrics/summary.json")  # for `dvc plots` and `dvc metrics`
CHECKPOINT = Path("models/amd.safetensors")
PICTURED = 20  # sequences: keeps the file below 10 MB
LINEAGE = ("git.", "params.", "version.")

HEADLINES = {  # of `dvc metrics show`: where each number is
    "loss": ("pretrain.json", "loss"),
    "object_segment": ("objectness.json", "object_segment"),
    "J": ("vos.json", "summary", "image", "label_free_J"),
    "F": ("vos.json", "summary", "image", "label_free_F"),
    "J_adapted": ("vos.json", "summary", "adapted", "label_free_J"),
    "F_adapted": ("vos.json", "summary", "adapted", "label_free_F"),
    "J_oracle": ("vos.json", "summary", "image", "oracle_J"),
    "J_flow_outliers": ("vos.json", "baselines", "flow_outliers", "mean", "J", "mean"),
    "J_centre_box": ("vos.json", "baselines", "centre_box", "mean", "J", "mean"),
    "videos_not_adapted": ("adapt.json", "failed"),
    "IoU_inverted": ("robustness.json", "scores", "inverted", "foreground_iou"),
    "IoU_blurred": ("robustness.json", "scores", "blurred", "foreground_iou"),
    "probe_accuracy": ("features.json", "probe_accuracy", "mean"),
    "saliency_F": ("saliency.json", "F", "adaptive"),
    "saliency_MAE": ("saliency.json", "MAE"),
}

Content = TypeVar("Content")


def main(params: Params, run: Run) -> None:
    """Gather the run's files and write the page."""
    vos = if_there("metrics/vos.json", read_json) or None  # empty: nothing labelled was scored
    sequences, left_out, problems = pictures(params, vos)
    make_report(
        OUT,
        Findings(
            params=params,
            lineage=lineage(run),
            links=links(run, params.register_.name),
            manifest=if_there("data/manifest.parquet", lambda path: read_table(path, MANIFEST)),
            pairs=if_there("data/shards/pairs.parquet", lambda path: read_table(path, PAIRS)),
            pretrain=if_there("metrics/pretrain.json", read_json),
            objectness=if_there("metrics/objectness.json", read_json),
            vos=vos,
            seeds=seeds(params, run, vos),
            evaluations=sections(Path("metrics")),
            sequences=sequences,
            sequences_left_out=left_out,
            problems=problems,
        ),
    )
    write_json(SCORES, score_rows(vos))
    headlines = summary(Path("metrics"))
    write_json(SUMMARY, headlines)
    run.parent().metrics(headlines)
    run.artifact(OUT)
    print(f"report: {OUT}, {OUT.stat().st_size / 1e6:.1f} MB")


def score_rows(vos: dict | None) -> list[dict]:
    """Label-free J of every sequence by prediction; empty without scores."""
    return [
        {"sequence": sequence, "masks": prediction, "J": round(measures["J"]["mean"], 4)}
        for prediction, choices in (vos or {}).get("scores", {}).items()
        for sequence, measures in choices["label-free"]["sequences"].items()
    ]


def summary(metrics: Path) -> dict[str, float | int | None]:
    """A number or two of every stage, by name; what was skipped or never ran is left out."""
    found = {}
    for name, (file, *keys) in HEADLINES.items():
        value = if_there(str(metrics / file), read_json)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found[name] = round(value, 4) if isinstance(value, float) else value
    return found


def if_there(path: str, read: Callable[[Path], Content]) -> Content | None:
    """A file's content, None when there is no such file."""
    return read(Path(path)) if Path(path).is_file() else None


def lineage(run: Run) -> dict[str, str]:
    """Where the run came from: tags of the pipeline's run and of this stage's, and the hashes of its files."""
    parent = run.parent()
    tags = {**run.client.get_run(parent.id).data.tags, **run.client.get_run(run.id).data.tags}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "mlflow.parent_run": parent.id,
        **{key: value for key, value in sorted(tags.items()) if key.startswith(LINEAGE)},
        **{f"dvc.{path}": value for path, value in sorted(locked_hashes().items())},
    }


def seeds(params: Params, run: Run, vos: dict | None) -> dict[str, dict[str, float]]:
    """Label-free J of this training and of those registered that differ in their seeds alone, by masks and seed."""
    try:
        _, info = open_as(AMD, CHECKPOINT)
    except UserError:  # the page says it where pictures are missing
        return {}
    evidence = gather_evidence({}, vos or {}, locked_hashes().get(params.data.benchmark_root))
    data = if_there("data/manifest.parquet", data_facts)
    tags = evidence.tags() | recipe_tags(info) | (data.tags() if data else {})
    found = trainings_alike(run.client, params.register_.name, evidence, tags)
    return {
        "image": {seed: each.image_j for seed, each in found.items()},
        "adapted": {seed: each.adapted_j for seed, each in found.items()},
    }


def links(run: Run, model: str) -> dict[str, str]:
    """Where MLflow shows the pipeline's run and its model: on the server in use, else on that of `make services`."""
    parent = run.client.get_run(run.parent().id).info
    uri = run.client.tracking_uri
    server = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    place = f"{server}/#/experiments/{parent.experiment_id}/runs/{parent.run_id}"
    return {"run": place, "model": f"{server}/#/models/{model}"}


def pictures(params: Params, vos: dict | None) -> tuple[list[SequencePictures], int, list[str]]:
    """The worst sequences in pictures, how many are left out, and what could not be shown."""
    try:
        model, info = open_as(AMD, CHECKPOINT)
        sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    except UserError as error:
        return [], 0, [str(error)]
    folders = {name: path for name, path in PREDICTIONS.items() if masks_folder(path, sequences[0].dataset).is_dir()}
    problems = [f"{path}: no predictions there" for name, path in PREDICTIONS.items() if name not in folders]
    judge = "adapted" if "adapted" in folders else "image"
    pictured = []
    for sequence in progress(worst_first(sequences, vos, judge)[:PICTURED], "report", unit="sequences"):
        try:
            pictured.append(picture_sequence(sequence, folders, judge, model, info))
        except UserError as error:
            problems.append(str(error))
    return pictured, max(0, len(sequences) - PICTURED), problems


def worst_first(sequences: list[Sequence], vos: dict | None, judge: str) -> list[Sequence]:
    """Sequences by rising label-free J of the prediction `judge`; in the benchmark's order without scores."""
    scores = (vos or {}).get("scores", {}).get(judge)
    if scores is None:
        return sequences
    per_sequence = scores["label-free"]["sequences"]
    j = {name: measures["J"]["mean"] for name, measures in per_sequence.items()}
    return sorted(sequences, key=lambda sequence: j.get(sequence.name, 0.0))


if __name__ == "__main__":
    run_stage("report", main)
