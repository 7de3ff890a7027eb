"""Schemas of every Parquet table of the pipeline, and how they are written and read.

One place, so that a column never has two names or two units.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path

HELD_OUT = "held out"  # a status of the manifest: accepted, but models are judged by it and not trained on it

# A row per input, accepted or rejected. `frames` is what was decoded, `frames_promised` what the
# container says (null where it says nothing). `path` is as given, so a row can be opened again.
MANIFEST = pa.schema(
    [
        ("video_id", pa.string()),
        ("path", pa.string()),
        ("kind", pa.string()),  # video | frames
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("codec", pa.string()),
        ("width", pa.int32()),  # as displayed: after rotation
        ("height", pa.int32()),
        ("rotation", pa.int32()),  # degrees clockwise that the container asks for: 0, 90, 180, 270
        ("fps", pa.float64()),
        ("frames", pa.int64()),
        ("frames_promised", pa.int64()),
        ("duration_s", pa.float64()),
        ("decoder", pa.string()),  # decord | pyav | images
        ("still_pairs", pa.int64()),  # adjacent frames that repeat each other, by the rule of amd.data.pairs.select
        ("cuts", pa.int64()),
        ("status", pa.string()),  # accepted | held out | rejected
        ("reason", pa.string()),  # why rejected, or a warning on an accepted one; empty if nothing to say
        ("frame_names", pa.list_(pa.string())),  # of a frame folder, in order; null for a video
    ]
)

# A row per shard of frame pairs.
INDEX = pa.schema(
    [
        ("shard", pa.string()),
        ("video_ids", pa.list_(pa.string())),
        ("samples", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("quality", pa.list_(pa.uint8())),  # of each sample's motion evidence, 0 to 255; null where shards hold none
    ]
)

# A row per accepted video whose shards hold motion evidence.
EVIDENCE = pa.schema(
    [
        ("video_id", pa.string()),
        ("frames", pa.int64()),
        ("moving", pa.float64()),  # mean share of a frame that moves on its own
        ("confidence", pa.float64()),  # how sure that is where it is said, 0 to 1
        ("pairs", pa.int64()),  # that may be drawn: of a quality above 0
        ("left_out_still", pa.int64()),  # frames in which nothing moves
        ("left_out_scene", pa.int64()),  # frames of which most moves
        ("left_out_cut", pa.int64()),  # frames beside a cut
        ("bytes", pa.int64()),  # of stored maps
        ("reason", pa.string()),  # why the whole video is left out; empty if it is not
    ]
)

# A row per accepted video: how many pairs it gave, and how many were dropped by which rule.
PAIRS = pa.schema(
    [
        ("video_id", pa.string()),
        ("pairs", pa.int64()),
        ("dropped_still", pa.int64()),
        ("dropped_cut", pa.int64()),
        ("median_change", pa.float64()),  # mean absolute grey difference of a pair, 0 to 255
        ("reason", pa.string()),  # why a video gave fewer pairs than it should; empty if nothing to say
    ]
)

# A row per sequence, prediction and choice of the object segment.
SCORES = pa.schema(
    [
        ("dataset", pa.string()),
        ("sequence", pa.string()),
        ("prediction", pa.string()),  # image | adapted | centre_box | ...
        ("choice", pa.string()),  # label-free | oracle | none
        ("segment", pa.int32()),
        ("frames", pa.int64()),
        ("J_mean", pa.float64()),
        ("J_recall", pa.float64()),
        ("J_decay", pa.float64()),
        ("F_mean", pa.float64()),
        ("F_recall", pa.float64()),
        ("F_decay", pa.float64()),
    ]
)

# A row per segment, over sampled training frames.
SEGMENTS = pa.schema(
    [
        ("segment", pa.int32()),
        ("motion", pa.float64()),  # mean length of the segment's flow, pixels of the motion input
        ("area", pa.float64()),  # share of the frame
        ("entropy", pa.float64()),  # mean binary entropy of the mask, nats
        ("reconstruction_error", pa.float64()),  # mean D_SSIM under the mask
        ("centre_x", pa.float64()),  # 0 left to 1 right
        ("centre_y", pa.float64()),  # 0 top to 1 bottom
        ("centre_deviation", pa.float64()),  # standard deviation of the centre from frame to frame, share of the frame
        ("spread", pa.float64()),  # standard deviation of a mask around its centre, share of the frame
        ("frames", pa.int64()),
    ]
)


def write_table(path: Path | str, schema: pa.Schema, rows: Iterable[dict]) -> None:
    """Write `rows` as a Parquet table of exactly `schema`, atomically and byte for byte repeatable."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    with atomic_path(path) as part:
        pq.write_table(table, part, compression="zstd")


def read_table(path: Path | str, schema: pa.Schema) -> list[dict]:
    """Read a table as a list of rows; UserError when it is missing, damaged or of another schema."""
    path = Path(path)
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such table; run the stage that makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    missing = [name for name in schema.names if name not in table.schema.names]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; run the stage that makes it again")
    try:
        return table.select(schema.names).cast(schema).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: columns of the wrong type ({str(error).splitlines()[0]})") from None
