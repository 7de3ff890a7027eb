"""Stage objectness: the pretrained checkpoint learns which of its segments is the object.

Input: models/pretrained.safetensors, data/shards, params.objectness. Output: models/amd.safetensors,
metrics/segments.parquet, metrics/objectness.json.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from torch import Tensor

from amd.config import Params
from amd.data.pairs.read import to_float
from amd.data.tables import SEGMENTS, write_table
from amd.models.amd import AMD
from amd.models.checkpoint import save_checkpoint
from amd.models.loading import open_as
from amd.models.precision import MASKS_WITHIN, rounding_error
from amd.runtime.files import write_json
from amd.runtime.progress import progress
from amd.runtime.tracking import Run
from amd.training.distributed import Process, join_processes
from amd.training.objectness import choices, choose_object, segment_statistics
from amd.training.pretrain import open_reader
from stages import run_stage

PRETRAINED = Path("models/pretrained.safetensors")
CHECKPOINT = Path("models/amd.safetensors")


def main(params: Params, run: Run) -> None:
    """Measure every segment on training pairs and store the choice with the weights."""
    rows, error = store_object(PRETRAINED, CHECKPOINT, params)
    chosen = choose_object(rows)
    write_table("metrics/segments.parquet", SEGMENTS, rows)
    found = {"object_segment": chosen, "choices": choices(rows), "bfloat16_error": error, "segments": rows}
    write_json("metrics/objectness.json", found)
    run.metrics(
        {"object_segment": chosen, "bfloat16_error": error}
        | {f"motion_{row['segment']}": row["motion"] for row in rows}
    )
    run.artifact("metrics/objectness.json")


def store_object(pretrained: Path, checkpoint: Path, params: Params) -> tuple[list[dict[str, float]], float]:
    """Write `pretrained` as `checkpoint` with its object segment, and whether its masks may be made in bfloat16.

    Returns the statistics of every segment, and the largest difference that bfloat16 made to a mask.
    """
    model, info = open_as(AMD, pretrained)
    errors = []

    def watched(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for first, second in pairs:
            errors.append(rounding_error(model, first))
            yield first, second

    with join_processes(params.pretrain.device) as process:
        rows = segment_statistics(model.to(process.device), watched(training_pairs(params, process)))
    info = replace(
        info,
        object_segment=choose_object(rows),
        segments=rows,
        short_edge=params.predict.short_edge,
        bfloat16=max(errors) <= MASKS_WITHIN,
    )
    save_checkpoint(checkpoint, model, info)
    return rows, max(errors)


def training_pairs(params: Params, process: Process):
    """Batches of training pairs, as floats, without the labels that nobody gave."""
    settings = params.pretrain.model_copy(update={"num_workers": 0})
    batches = -(-params.objectness.pairs // settings.batch_size)
    reader = open_reader(settings, Path("data/shards/index.parquet"), process, 0)
    for batch in progress(islice(reader, batches), "objectness", batches, "batches"):
        yield to_float(batch, process.device)


if __name__ == "__main__":
    run_stage("objectness", main)
