"""Stage predict: the object mask and the label map of every benchmark frame, each image by itself.

Input: models/amd.safetensors, the benchmark, params.predict. Output, kept between runs: predictions/image. A sequence
that is finished is not done again while its checkpoint, frames and code stay the same.
"""

from pathlib import Path

from amd.config import Params, Predict
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.inference.segmenter import segment_sequence
from amd.models.amd import AMD
from amd.models.loading import open_as
from amd.runtime.files import run_lock, sha256
from amd.runtime.progress import progress
from amd.runtime.tracking import Run
from stages import run_stage
from stages.receipts import discard, discard_others, origin, read_receipt, write_receipt

CHECKPOINT = Path("models/amd.safetensors")
OUT = Path("predictions/image")


def main(params: Params, run: Run) -> None:
    """Segment what is not there yet, and remove what is no longer in the benchmark."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    with run_lock(".amd/locks/predict", "predict"):
        discard_others(OUT, params.data.benchmark, {sequence.name for sequence in sequences})
        predict(CHECKPOINT, sequences, params.predict, OUT)
    run.metrics({"sequences": len(sequences), "frames": sum(len(sequence.frames) for sequence in sequences)})


def predict(checkpoint: Path, sequences: list[Sequence], settings: Predict, out: Path) -> None:
    """Bring the predictions of all sequences under `out` up to date."""
    model, info = open_as(AMD, checkpoint, "auto")
    weights = sha256(checkpoint)
    for sequence in progress(sequences, "predict", unit="sequences"):
        made_from = origin(weights, sequence, settings)
        if read_receipt(out, sequence, made_from) is None:
            discard(out, sequence.dataset, sequence.name)
            segment_sequence(model, info, sequence, out, sequence.dataset)
            write_receipt(out, sequence, made_from, {})


if __name__ == "__main__":
    run_stage("predict", main, keeps=True)
