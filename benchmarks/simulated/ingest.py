"""Ingest: all inputs for the first time, again, and with a few more; the manifest read back and told in words."""

from pathlib import Path

from amd.config.profiles import load_profile
from amd.data.ingest.manifest import ingest, read_manifest
from amd.data.ingest.report import validation_report
from amd.data.tables import MANIFEST, write_table
from benchmarks.simulated import Sizes, Step
from benchmarks.simulated.inputs import make_inputs

VIDEOS, MANIFEST_PATH, MEMORY = Path("videos"), Path("manifest.parquet"), Path("memory.parquet")
MORE = 10


def steps(sizes: Sizes) -> list[Step]:
    """The steps of the part."""
    return [
        Step("make the inputs", lambda sizes: make_inputs(VIDEOS, 0, sizes.inputs)),
        Step("ingest: all inputs are new", _ingest, sizes.inputs, str(MANIFEST_PATH)),
        Step("ingest: nothing changed", _ingest, sizes.inputs, str(MANIFEST_PATH)),
        Step("make more", lambda sizes: make_inputs(VIDEOS, sizes.inputs, MORE)),
        Step(f"ingest: {MORE} inputs are new", _ingest, sizes.inputs + MORE, str(MANIFEST_PATH)),
        Step("manifest: read, checked, told in words", _read, sizes.inputs + MORE),
    ]


def _ingest(_: Sizes) -> None:
    params = load_profile("quickstart")
    write_table(MANIFEST_PATH, MANIFEST, ingest(VIDEOS, params.ingest, params.shard, MEMORY))


def _read(sizes: Sizes) -> None:
    rows = read_manifest(MANIFEST_PATH)
    accepted = sum(row["status"] == "accepted" for row in rows)
    if accepted != sizes.inputs + MORE:
        raise RuntimeError(f"{accepted} of {len(rows)} inputs accepted")
    validation_report(rows)
