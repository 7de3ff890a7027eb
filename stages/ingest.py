"""Stage ingest: every input accepted or rejected.

Input: the folder of data.videos, or the built-in corpus where that is empty. Output: data/manifest.parquet, and for a
reader data/manifest.md.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from amd.config import Params
from amd.data.ingest.examine import Limits
from amd.data.ingest.held_out import hold_out
from amd.data.ingest.manifest import ingest
from amd.data.ingest.report import reason_counts, validation_report
from amd.data.tables import HELD_OUT, MANIFEST, write_table
from amd.runtime.errors import UserError
from amd.runtime.files import run_lock, write_text
from stages import run_stage
from stages.fan_out import fan_out

if TYPE_CHECKING:
    from amd.runtime.tracking import Run

MANIFEST_PATH = Path("data/manifest.parquet")
REPORT_PATH = Path("data/manifest.md")
BUILT_IN = Path("data/corpus/train")  # the built-in corpus, where nobody gave a video
MEMORY = Path(".amd/ingest")  # DVC removes a stage's outputs before it runs; what was examined lives here


def main(params: Params, run: "Run") -> None:
    """Examine data.videos, or the built-in corpus where it is empty; UserError when nothing in it can be used."""
    videos = training_videos(Path(params.data.videos))
    with run_lock(".amd/locks/ingest", "ingest"):
        memory = MEMORY / f"{Limits.of(params.ingest, params.shard).key()}.parquet"
        rows = ingest(videos, params.ingest, params.shard, memory, each=fan_out(params.ingest.runner))
        hold_out(rows, params.ingest.held_out)
        write_table(MANIFEST_PATH, MANIFEST, rows)
        write_text(REPORT_PATH, validation_report(rows))
    counts = Counter(row["status"] for row in rows)
    accepted, aside = counts["accepted"], counts[HELD_OUT]
    run.metrics({"accepted": accepted, "held_out": aside, "rejected": counts["rejected"]})
    run.artifact(REPORT_PATH)
    if accepted == 0:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in reason_counts(rows))
        raise UserError(f"{videos}: none of {len(rows)} inputs can be used: {reasons}; see {REPORT_PATH}")
    held = f", {aside} more held out" if aside else ""
    print(f"ingest: {accepted} of {len(rows)} inputs of {videos} accepted{held}; {REPORT_PATH} says why")


def training_videos(given: Path) -> Path:
    """What is trained on: `given`, or the built-in corpus where that is an empty folder; hidden names do not count."""
    if given.is_dir() and all(path.name.startswith(".") for path in given.iterdir()):
        return BUILT_IN
    return given


if __name__ == "__main__":
    run_stage("ingest", main)
