"""`amd import`: another project's checkpoint as one of ours, with the object segment that videos show.

Input: a file that amd.models.foreign reads, and videos or the number of a segment. Output: a checkpoint. Which segment
is the object is measured on the videos by the label-free rule (amd.training.objectness), or told; never assumed.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from amd.config import load_params, own_section
from amd.config.profiles import load_profile
from amd.data.pairs.select import PairFilter
from amd.data.video.decode import DecodeError, Source, read_frames
from amd.data.video.sources import find_inputs
from amd.models.amd import Architecture
from amd.models.checkpoint import ModelInfo, object_segment, save_checkpoint
from amd.models.foreign import is_backbone, load_foreign
from amd.runtime.errors import UserError
from amd.runtime.progress import progress
from amd.training.adaptation import LARGEST_SHORT_EDGE, MOST_PAIRS, adaptation_settings, sample_pairs, shrink
from amd.training.objectness import choose_object, segment_statistics


def import_model(
    path: Path, out: Path, videos: Path | None = None, segment: int | None = None, params: Path | None = None
) -> ModelInfo:
    """Rewrite a foreign checkpoint as ours; returns what the new one says of itself.

    `videos` are what the object segment is measured on; `segment` is its number; with neither there is none yet.
    `params` is a params.yaml whose `model` a backbone is to begin. Raises UserError as amd.models.foreign, for videos
    in which nothing moves, and for an `out` that is there already.
    """
    if out.suffix.lower() != ".safetensors":
        raise UserError(f"{out}: a checkpoint's name ends in .safetensors; give it that name")
    if out.exists():
        raise UserError(f"{out}: is there already; choose another --out or remove it")
    if videos is not None and segment is not None:
        raise UserError("--segment and --videos: both say which segment is the object; give one of them")
    wanted = Architecture(**load_params(params).model.model_dump()) if params is not None else None
    model, info = load_foreign(path, wanted)
    if is_backbone(info) and (videos is not None or segment is not None):
        option = "--videos" if videos is not None else "--segment"
        raise UserError(
            f"{option}: {path} is a backbone alone, whose segments are random; leave it out and train first"
        )
    if videos is not None:
        rows = segment_statistics(model, moving_pairs(info, find_inputs(videos), videos))
        info = replace(info, object_segment=choose_object(rows), segments=rows)
    elif segment is not None:
        info = replace(info, object_segment=object_segment(info, segment))
    save_checkpoint(out, model, info)
    return info


def moving_pairs(info: ModelInfo, sources: Sequence[Source], place: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Up to MOST_PAIRS moving pairs 1,3,h,w in [0, 1] of all sources, as many of each; UserError when there is none.

    Sources that do not decode are passed over. Of more sources than MOST_PAIRS, evenly many are passed over.
    """
    shard, gap = own_section(info.params, load_profile("paper").shard), adaptation_settings(info, 1).gap
    judge, found = PairFilter(shard.min_change, shard.max_change), 0
    usable = [source for source in sources if not source.problem]
    taken = usable[:: -(-len(usable) // MOST_PAIRS) or 1]
    for source in progress(taken, "object segment", len(taken), "videos"):
        with closing(read_frames(source, info.short_edge or LARGEST_SHORT_EDGE)) as frames:
            images = (frame.image for frame in frames)
            try:
                pairs = sample_pairs(images, gap, judge, max(1, MOST_PAIRS // len(taken)))
            except DecodeError:
                continue
        for pair in pairs:
            found += 1
            first, second = shrink(pair, None).to(torch.float32) / 255
            yield first[None], second[None]
    if not found:
        raise UserError(f"{place}: nothing moves in any video there, which shows no object; give others, or --segment")
