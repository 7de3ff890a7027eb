"""The process that uses mutated files: it may crash, hang or be ended for its memory without harm to the fuzzer.

Input: cases through a pipe. Output: a verdict per case. The fuzzer (fuzz.__main__) watches the time; the process
itself limits its memory.
"""

import os
import random
import resource
import shutil
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from amd.runtime.errors import UserError
from fuzz.seeds import make_seeds
from fuzz.targets import TARGETS

MEMORY_MB = 1500  # that one case may take, beyond what the libraries do
LOG = "worker.log"
REASON_LENGTH = 2000  # of a refusal, which is one line


@dataclass(frozen=True)
class Case:
    """One mutation: the same case is the same file."""

    target: str
    seed: int
    number: int


@dataclass(frozen=True)
class Verdict:
    """What came of a case."""

    kind: Literal["accepted", "rejected", "failed"]
    text: str = ""  # the refusal, or what went wrong


def work(cases: Connection, folder: Path) -> None:
    """Answer each case with its verdict until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fuzzer ends this process
    with (folder / LOG).open("ab") as log:  # of libraries, which say much of bad files
        os.dup2(log.fileno(), sys.stderr.fileno())
    seeds = folder / "seeds"
    if not seeds.exists():
        make_seeds(seeds)
        _check(seeds)
    _limit_memory()
    cases.send("ready")
    while True:
        try:
            case = cases.recv()
        except EOFError:
            return
        cases.send(try_case(case, seeds, folder / "case"))


def _check(seeds: Path) -> None:
    """RuntimeError when a file is refused that nothing was done to: its mutations would say little."""
    for name, target in TARGETS.items():
        try:
            target.use(seeds)
        except UserError as error:
            if target.good_seed:
                raise RuntimeError(f"the fuzzer's own file is refused: {name}: {error}") from None


def try_case(case: Case, seeds: Path, scratch: Path) -> Verdict:
    """Mutate and use one file."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    before = _peak_mb()
    verdict = _verdict(case, seeds, scratch)
    if (grown := _peak_mb() - before) > MEMORY_MB:
        return Verdict("failed", f"memory: {grown:.0f} MB; {verdict.text}")
    return verdict


def _verdict(case: Case, seeds: Path, scratch: Path) -> Verdict:
    target = TARGETS[case.target]
    target.mutate(random.Random(repr(case)), seeds, scratch)
    try:
        target.use(scratch)
    except UserError as error:
        text = str(error)
        if "\n" in text or len(text) > REASON_LENGTH or not text.strip():
            return Verdict("failed", f"a refusal of {len(text)} characters that is no line: {text[:300]!r}")
        return Verdict("rejected", text)
    except Exception as error:
        return Verdict("failed", f"{type(error).__name__}: {str(error)[:300]} at {_place(error)}")
    return Verdict("accepted")


def _place(error: Exception) -> str:
    """The innermost line of this project that the error came through."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(ours[-3:]))


def _peak_mb() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _limit_memory() -> None:
    """Let the system refuse what goes far beyond the limit, before the machine suffers."""
    if sys.platform.startswith("linux"):
        held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()  # data and stack
        most = held + 2 * MEMORY_MB * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
