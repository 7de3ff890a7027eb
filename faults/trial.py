"""Trials: a command disturbed at random moments, the same command again, and what is wrong after it.

Input: the workspace, and faults of one stage. Output: an Outcome of each with a line per problem; none is a recovery.
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from faults.results import differences, leftovers, read_results, tracking_problems
from faults.workspace import Workspace, repro

LIMIT_S = 300.0  # for a command that took seconds undisturbed: after that it hangs
ENDING_S = 20.0  # for processes to follow the one that was disturbed
POLL_S = 0.05
ATTEMPTS = 5  # at striking before the command ends
SOONER = 0.7  # each of them, as a share of the time of the one before
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")  # of Python, not of the work


class Missed(Exception):
    """The command ended before the fault could strike."""


@dataclass(frozen=True)
class Case:
    """One fault in one stage; equal cases strike at the same share of the stage's time."""

    fault: str
    stage: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    problems: tuple[str, ...] = ()
    missed: bool = False  # never struck in time
    status: int | None = None  # exit status of the command that was disturbed
    log: str = ""
    mended: bool = False  # DVC left a file of its own half-written, and the next command began with stages.prepare


@dataclass
class Trial:
    """The command under way; what a fault (faults.catalogue) sees and touches."""

    workspace: Workspace
    case: Case
    log: Path
    rng: random.Random
    command: Sequence[str]
    within_s: float  # of the command's start: when a fault strikes
    prefix: Sequence[str] = ()  # put before the command when it is run again
    process: subprocess.Popen | None = None
    started: float = 0.0
    status: int | None = None
    problems: list[str] = field(default_factory=list)
    mended: bool = False

    @property
    def stage(self) -> str:
        """The stage that is disturbed."""
        return self.case.stage

    def start(self, **variables: str) -> None:
        """Start the command, with more variables in its environment; a fault calls this once."""
        self.started = time.monotonic()
        self.process = self.workspace.start(self.command, self.log, **variables)

    def wait_for_moment(self, longest_s: float | None = None) -> None:
        """Wait until a random moment of the next `longest_s` seconds, else of what is left of the stage's time.

        Raises Missed when the command ends before.
        """
        left = max(0.0, self.started + self.within_s - time.monotonic())
        if self.wait(self.rng.random() * (left if longest_s is None else longest_s)):
            raise Missed

    def wait(self, seconds: float) -> bool:
        """Wait for the command to end; whether it did."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def find(self, choose: Callable[[], list[psutil.Process]]) -> psutil.Process:
        """One of the processes that `choose` gives, as soon as there is any; Missed when the command ends first."""
        while self.process.poll() is None:
            with suppress(psutil.Error):
                if found := choose():
                    return self.rng.choice(found)
            time.sleep(POLL_S)
        raise Missed

    def programs(self) -> list[psutil.Process]:
        """The process of the stage itself, once it runs."""
        module = self._entry()["cmd"].split("-m ")[1].split()[0]
        return [each for each in self.workspace.processes() if each.cmdline()[1:3] == ["-m", module]]

    def workers(self) -> list[psutil.Process]:
        """The processes that the stage has started to share its work."""
        below = [child for program in self.programs() for child in program.children(recursive=True)]
        return [each for each in below if _works(each)]

    def outputs(self) -> list[Path]:
        """The paths that the stage writes."""
        listed = [*self._entry().get("outs", []), *self._entry().get("metrics", [])]
        return [self.workspace.project / (each if isinstance(each, str) else next(iter(each))) for each in listed]

    def finish(self) -> int:
        """Wait for the command to end, and for what it started; its exit status. RuntimeError when it hangs."""
        if not self.wait(LIMIT_S):
            raise RuntimeError(f"still at work {LIMIT_S:g} s later")
        _remaining(self.workspace)
        return self.process.returncode

    def _entry(self) -> dict:
        """What dvc.yaml says of the stage."""
        return YAML(typ="safe").load(self.workspace.project / "dvc.yaml")["stages"][self.stage]


Strike = Callable[[Trial], None]  # of faults.catalogue: starts the command and disturbs it


def run_series(workspace: Workspace, cases: Sequence[Case], faults: Sequence[Strike], number: int) -> list[Outcome]:
    """Disturb the command of one stage by one fault after the other, let it finish, and compare.

    A problem that is found then is told of every fault since the project was last put back; so is a command that
    hangs, after which the rest of the cases has no outcome.
    """
    stage = cases[0].stage
    log = workspace.log(f"{number:03d}-{'-'.join(case.fault for case in cases)}-{stage}".replace(" ", "-"))
    command, seconds = repro(stage), workspace.seconds[stage]
    trials = [Trial(workspace, case, log, random.Random(repr(case)), command, seconds) for case in cases]
    workspace.restore(stage)
    struck: list[Trial] = []  # since then
    try:
        for trial, fault in zip(trials, faults, strict=True):
            _strike(trial, fault, struck)
        _mend(struck)
        _tell(struck, _again(trials[-1]) if struck else [])
    except RuntimeError as error:
        _tell(struck if trial in struck else [*struck, trial], [str(error)])
    finally:
        workspace.end_processes()
    return [
        Outcome(
            trial.case,
            tuple(trial.problems),
            trial.status is None and not trial.problems,
            trial.status,
            str(log),
            trial.mended,
        )
        for trial in trials
        if trial.process is not None
    ]


def _strike(trial: Trial, fault: Strike, struck: list[Trial]) -> None:
    """Disturb the command and add the trial to `struck`; where it ended before, compare, put back and try again."""
    for _ in range(ATTEMPTS):
        _mend(struck)
        try:
            fault(trial)
            trial.status = trial.finish()
        except (Missed, psutil.NoSuchProcess):
            trial.within_s = SOONER * min(trial.within_s, time.monotonic() - trial.started)
            _tell(struck, _problems(trial))
            struck.clear()
            trial.workspace.restore(trial.stage)
        else:
            trial.problems += _orphans(trial.workspace, "after the fault")
            struck.append(trial)
            return


def _tell(trials: Sequence[Trial], problems: Sequence[str]) -> None:
    for trial in trials:
        trial.problems += problems


def _mend(struck: Sequence[Trial]) -> None:
    """What docs/recovery.md has for a DVC that was killed amid writing its own files; told of the last fault."""
    if struck and (lines := struck[-1].workspace.mend()):
        struck[-1].mended = True
        with struck[-1].log.open("a") as log:
            log.writelines(f"--- {line}\n" for line in lines)


def _again(trial: Trial) -> list[str]:
    """The same command to its end, and everything that is not as after the undisturbed run."""
    with trial.log.open("a") as log:
        log.write("--- again\n")
    trial.command = [*trial.prefix, *trial.command]
    trial.start()
    trial.finish()
    return _problems(trial)


def _problems(trial: Trial) -> list[str]:
    """What is wrong after a command that nothing disturbed."""
    workspace, stages = trial.workspace, trial.workspace.stages
    if (status := trial.finish()) != 0:
        return [f"again: exit status {status}: {_last_line(trial.log)}"]
    upto = stages[: stages.index(trial.stage) + 1]
    return [
        *_orphans(workspace, "at the end"),
        *differences(read_results(workspace.project, upto), workspace.results[trial.stage]),
        *leftovers(workspace.project),
        *tracking_problems(workspace.project / "mlflow.db", trial.stage),
    ]


def _orphans(workspace: Workspace, when: str) -> list[str]:
    """A line per process that does not end by itself soon, and then is ended."""
    lines = []
    for process in _remaining(workspace):
        with suppress(psutil.Error):
            lines.append(f"{when} a process is left: {' '.join(process.cmdline())[:200]}")
            process.send_signal(signal.SIGKILL)
    return lines


def _remaining(workspace: Workspace) -> list[psutil.Process]:
    """The project's processes that are still there after the time that they have to end."""
    deadline = time.monotonic() + ENDING_S
    while (left := workspace.processes()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return left


def _works(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return process.name().startswith("python") and "prefect" not in words and not any(it in words for it in HELPERS)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
