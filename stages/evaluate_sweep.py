"""Stage evaluate_sweep: every model of the sweep on the benchmark, J against the number of segments.

Input: models/sweep/c<number>/, the benchmark. Output: metrics/sweep*, and the masks and label maps,
predictions/sweep/c<number>/.
"""

from pathlib import Path
from typing import Any

from amd.config import Params
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.evaluation.published import note
from amd.evaluation.sweep_figure import write_sweep_curve, write_sweep_masks
from amd.evaluation.vos import LABEL_FREE, score_prediction
from amd.inference.segmenter import segment_sequence
from amd.models.amd import AMD
from amd.models.loading import open_as
from amd.runtime.files import read_json, write_json
from amd.runtime.progress import progress
from amd.runtime.tracking import Run
from stages import run_stage
from stages.sweep import CHECKPOINT, HISTORY, model_folder

REPORT, CURVE, MASKS = (Path("metrics", name) for name in ("sweep.json", "sweep.png", "sweep_masks.png"))
PREDICTIONS = Path("predictions/sweep")


def main(params: Params, run: Run) -> None:
    """Segment, score and draw."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    numbers: dict[int, dict[str, Any]] = {}
    protocol: dict[str, Any] = {}
    for segments in params.sweep.segments:
        numbers[segments], protocol = evaluate(sequences, segments)
        run.metrics({name: value for name, value in numbers[segments].items() if "_J" in name}, step=segments)
    words = "J on DAVIS 2016 falls as c grows (c = 5, 6, 8); training with c < 4 is unstable; no numbers"
    published = {"words": words}
    published |= note(sequences[0].dataset == "davis2016" and len(sequences) == 20, sequences[0].dataset)
    write_json(REPORT, {"protocol": protocol | LABEL_FREE, "published": published, "segments": numbers})
    write_sweep_curve(CURVE, numbers)
    write_sweep_masks(MASKS, sequences, {segments: PREDICTIONS / f"c{segments}" for segments in numbers})
    run.artifact(REPORT, CURVE, MASKS)


def evaluate(sequences: list[Sequence], segments: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of one model, each image by itself, and their protocol."""
    folder = PREDICTIONS / f"c{segments}"
    model, info = open_as(AMD, model_folder(segments) / CHECKPOINT, "auto")
    for sequence in progress(sequences, f"c = {segments}", unit="sequences"):
        segment_sequence(model, info, sequence, folder, sequence.dataset)
    scores = score_prediction(sequences, folder, segments)
    label_free, oracle = scores["label-free"], scores["oracle"]
    found = {
        "label_free_J": label_free["mean"]["J"]["mean"],
        "label_free_F": label_free["mean"]["F"]["mean"],
        "oracle_J": oracle["mean"]["J"]["mean"],
        "object_segment": info.object_segment,
        "oracle_segment": oracle["segment"],
        "object_area": info.segments[info.object_segment]["area"],
        "loss": read_json(model_folder(segments) / HISTORY)["loss"],
    }
    print(f"c = {segments}: J {found['label_free_J']:.3f} label-free, {found['oracle_J']:.3f} oracle")
    return found, label_free["protocol"]


if __name__ == "__main__":
    run_stage("evaluate_sweep", main, guards=True)
