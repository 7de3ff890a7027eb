"""Stage objectness: the pretrained checkpoint learns which of its segments is the object.

Input: models/pretrained.safetensors, data/shards, params.objectness. Output: models/amd.safetensors,
metrics/segments.parquet, metrics/objectness.json.
"""

from pathlib import Path

from amd.config import Params
from amd.data.tables import SEGMENTS, write_table
from amd.runtime.files import write_json
from amd.runtime.tracking import Run
from amd.training.choosing import store_object
from amd.training.objectness import choices
from stages import run_stage

PRETRAINED = Path("models/pretrained.safetensors")
CHECKPOINT = Path("models/amd.safetensors")
INDEX = Path("data/shards/index.parquet")


def main(params: Params, run: Run) -> None:
    """Measure every segment on training pairs and store the choice with the weights."""
    rows, error, chosen = store_object(PRETRAINED, CHECKPOINT, params, INDEX)
    write_table("metrics/segments.parquet", SEGMENTS, rows)
    found = {"object_segment": chosen, "choices": choices(rows), "bfloat16_error": error, "segments": rows}
    write_json("metrics/objectness.json", found)
    run.metrics(
        {"object_segment": chosen, "bfloat16_error": error}
        | {f"motion_{row['segment']}": row["motion"] for row in rows}
    )
    run.artifact("metrics/objectness.json")


if __name__ == "__main__":
    run_stage("objectness", main)
