"""Faults that end processes, or ask them to end, at a random moment of a stage."""

import signal

from amd.runtime.processes import signal_group
from faults.trial import Trial

WORK_S = 1.0  # a worker of the tiny project lives little longer


def all_killed(trial: Trial) -> None:
    """SIGKILL to the command's whole process group: what a power cut leaves."""
    _signalled(trial, signal.SIGKILL)


def terminated(trial: Trial) -> None:
    """SIGTERM to the process group, as at a shutdown."""
    _signalled(trial, signal.SIGTERM)


def interrupted(trial: Trial) -> None:
    """SIGINT to the process group: Ctrl-C."""
    _signalled(trial, signal.SIGINT)


def dvc_killed(trial: Trial) -> None:
    """SIGKILL to DVC alone."""
    trial.start()
    trial.wait_for_moment()
    trial.process.kill()


def stage_killed(trial: Trial) -> None:
    """SIGKILL to the stage's own process, as for want of memory."""
    trial.start()
    trial.find(trial.programs)
    trial.wait_for_moment()
    trial.find(trial.programs).kill()


def worker_killed(trial: Trial) -> None:
    """SIGKILL to one of the processes that share the stage's work."""
    trial.start()
    trial.find(trial.workers)
    trial.wait_for_moment(WORK_S)
    trial.find(trial.workers).kill()


def flow_killed(trial: Trial) -> None:
    """SIGKILL to the Prefect flow alone, while the stage runs."""
    _in_flow(trial)
    trial.process.kill()


def flow_terminated(trial: Trial) -> None:
    """SIGTERM to the Prefect flow alone, while the stage runs."""
    _in_flow(trial)
    trial.process.terminate()


def _signalled(trial: Trial, number: signal.Signals) -> None:
    trial.start()
    trial.wait_for_moment()
    signal_group(trial.process.pid, number)


def _in_flow(trial: Trial) -> None:
    trial.command = [trial.command[0], "-m", "flows.pipeline", trial.stage]
    trial.start()
    trial.find(trial.programs)
    trial.wait_for_moment(trial.within_s)
