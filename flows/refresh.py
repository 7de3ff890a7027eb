"""Flow refresh: new videos in the watched folder (data.videos) become pairs, and the champion is trained on with them.

It is `dvc repro` of the whole pipeline, with the lock and the lineage of a manual run, but for one decision between
its first stages and the training: if the pairs are not those of the last training, the stage start is told to begin
with the version that is champion now. params.yaml stays as it is. The last stage promotes what comes out if it passes
the gates.
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import argparse
import signal
from pathlib import Path

from prefect import flow, get_run_logger
from ruamel.yaml import YAML

from amd.config import load_params
from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import run_lock
from flows.pipeline import pipeline
from flows.server import prefect_server

LOCK = Path("dvc.lock")
SHARDS = "data/shards"


@exit_on_user_error
def main() -> None:
    """Run the flow by hand; its decision is the last line."""
    description = "New videos become pairs, and the champion is trained on with them."
    argparse.ArgumentParser(prog="python -m flows.refresh", description=description).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with prefect_server():
        print(refresh())


@flow(name="refresh", persist_result=False)
def refresh() -> str:
    """Bring the pipeline up to date; gives what was done about the training. Interrupted, the next run goes on."""
    with run_lock(".amd/locks/refresh", "refresh"):
        pipeline(["shard"])
        decision, start = _decide()
        get_run_logger().info(decision)
        pipeline(start=start)
    return decision


def _decide() -> tuple[str, str | None]:
    """In words, and what the next training begins with (see flows.pipeline)."""
    if not new_pairs():
        return "no new pairs; the training stands", None
    from flows.models import champion  # MLflow takes seconds to import

    start = champion(load_params().register_.name)
    if start is None:
        return "new pairs; trained anew, as there is no champion", ""
    return f"new pairs; trained on from {start}", start


def new_pairs() -> bool:
    """Whether the shards are not those that the last training read, as dvc.lock has them."""
    stages = YAML(typ="safe").load(LOCK)["stages"]
    made = _locked(stages["shard"]["outs"])
    return "pretrain" not in stages or _locked(stages["pretrain"]["deps"]) != made


def _locked(entries: list[dict]) -> str:
    return next(entry["md5"] for entry in entries if entry["path"] == SHARDS)


if __name__ == "__main__":
    main()
