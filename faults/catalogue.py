"""Which faults there are, in which stages each is tried, and how often a full round tries it."""

from dataclasses import dataclass

from faults import damage, ends, mounts, outages
from faults.trial import Strike

WITH_WORKERS = ("corpus", "ingest", "shard", "pretrain", "adapt")
IN_FLOW = ("corpus", "ingest", "shard", "pretrain")  # the flow looks at all stages before these


@dataclass(frozen=True)
class Fault:
    """What is done, in which stages (None: all), how often in a full round, and whether it has to mount something."""

    strike: Strike
    stages: tuple[str, ...] | None = None
    times: int = 1
    mounts: bool = False

    @property
    def obstacle(self) -> str:
        """Why it cannot be done on this machine; empty where it can."""
        return mounts.REFUSED if self.mounts and not mounts.may_mount() else ""


FAULTS = {
    "all killed": Fault(ends.all_killed, times=2),
    "DVC killed": Fault(ends.dvc_killed),
    "stage killed": Fault(ends.stage_killed),
    "worker killed": Fault(ends.worker_killed, WITH_WORKERS, times=2),
    "terminated": Fault(ends.terminated),
    "interrupted": Fault(ends.interrupted),
    "flow killed": Fault(ends.flow_killed, IN_FLOW),
    "flow terminated": Fault(ends.flow_terminated, IN_FLOW),
    "disk full": Fault(outages.disk_full, mounts=True),
    "input vanished": Fault(outages.input_vanished, tuple(outages.INPUTS)),
    "output read-only": Fault(
        outages.output_read_only, ("ingest", "shard", "pretrain", "predict", "adapt", "register"), mounts=True
    ),
    "database locked": Fault(outages.database_locked, ("shard", "pretrain", "adapt", "register")),
    "database gone": Fault(outages.database_gone, ("ingest", "pretrain", "adapt", "register")),
    "MLflow restarted": Fault(outages.mlflow_restarted, ("pretrain", "adapt")),
    "Prefect restarted": Fault(outages.prefect_restarted, ("adapt",), times=2),
    "port in use": Fault(outages.port_in_use, ("adapt",)),
    "clock jumped": Fault(damage.clock_jumped, ("ingest", "shard", "pretrain", "predict", "adapt")),
    "cache damaged": Fault(
        damage.cache_damaged, ("corpus", "ingest", "shard", "pretrain", "predict", "adapt", "report")
    ),
    "output damaged": Fault(damage.output_damaged, ("ingest", "shard", "pretrain", "predict", "adapt", "evaluate_vos")),
    "output halved": Fault(damage.output_halved, ("shard", "predict", "adapt"), times=2),
    "DVC file torn": Fault(damage.dvc_file_torn, ("ingest", "shard", "pretrain", "adapt", "register"), times=2),
}
