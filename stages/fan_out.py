"""Where the stages ingest and shard have their videos worked on: their parameter `runner`."""

from functools import partial

from amd.config.pipeline import Runner
from amd.data.pool import Each, each_in_pool


def fan_out(runner: Runner) -> Each:
    """Processes of this machine, or what Dask and Prefect have (flows.batches)."""
    if runner == "processes":
        return each_in_pool
    from flows.batches import each_in_batches  # here: Prefect takes seconds to import, and a server is started for it

    return partial(each_in_batches, runner)
