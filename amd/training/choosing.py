"""The object segment of a pretrained checkpoint: the one that evidence trained, or the paper's choice (3.5).

Input: a pretrained checkpoint, the shards that it was trained on. Output: a checkpoint that knows its object segment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from torch import Tensor

from amd.config import Params
from amd.data.pairs.read import to_float
from amd.models.amd import AMD
from amd.models.checkpoint import save_checkpoint
from amd.models.loading import open_as
from amd.models.precision import MASKS_WITHIN, rounding_error
from amd.runtime.progress import progress
from amd.training.distributed import Process, join_processes
from amd.training.objectness import choose_object, segment_statistics
from amd.training.pretrain import open_reader


def store_object(
    pretrained: Path, checkpoint: Path, params: Params, index: Path
) -> tuple[list[dict[str, float]], float, int]:
    """Write `pretrained` as `checkpoint` with its object segment, and whether its masks may be made in bfloat16.

    The object is the segment that evidence trained, else the paper's rule chooses. Returns the statistics of every
    segment, the largest difference that bfloat16 made to a mask, and the object segment.
    """
    model, info = open_as(AMD, pretrained)
    errors = []

    def watched(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for first, second in pairs:
            errors.append(rounding_error(model, first))
            yield first, second

    with join_processes(params.pretrain.device) as process:
        rows = segment_statistics(model.to(process.device), watched(training_pairs(params, index, process)))
    chosen = choose_object(rows) if info.object_segment is None else info.object_segment
    edge, exact = params.predict.short_edge, max(errors) <= MASKS_WITHIN
    info = replace(info, object_segment=chosen, segments=rows, short_edge=edge, bfloat16=exact)
    save_checkpoint(checkpoint, model, info)
    return rows, max(errors), chosen


def training_pairs(params: Params, index: Path, process: Process) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of training pairs, as floats, without the labels that nobody gave."""
    settings = params.pretrain.model_copy(update={"num_workers": 0})
    batches = -(-params.objectness.pairs // settings.batch_size)
    reader = open_reader(settings, index, process, 0)
    for batch in progress(islice(reader, batches), "objectness", batches, "batches"):
        yield to_float(batch, process.device)
