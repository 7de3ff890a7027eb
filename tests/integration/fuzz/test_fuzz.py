"""Some 200 mutated files, each used or refused in a sentence; and that the fuzzer notices what it is there for."""

import random
import resource
from collections import Counter
from pathlib import Path

import pytest

from amd.runtime.errors import UserError
from fuzz.__main__ import format_table, run
from fuzz.seeds import make_seeds
from fuzz.targets import TARGETS
from fuzz.worker import Case, Verdict, try_case

EACH = 6  # cases of every target


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good files."""
    folder = tmp_path_factory.mktemp("fuzz") / "seeds"
    make_seeds(folder)
    return folder


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, Verdict]]:
    """Of EACH cases of every target, and amid them one that ends its process."""
    cases = [Case(name, 0, number) for number in range(EACH) for name in TARGETS]
    cases.insert(50, Case("no such target", 0, 0))
    return list(run(cases, tmp_path_factory.mktemp("run")))


def test_every_mutated_file_is_used_or_refused(verdicts: list[tuple[Case, Verdict]]) -> None:
    assert [pair for pair in verdicts if pair[1].kind == "failed" and pair[0].target in TARGETS] == []
    assert Counter(case.target for case, _ in verdicts if case.target in TARGETS) == dict.fromkeys(TARGETS, EACH)
    refusals = [verdict.text for _, verdict in verdicts if verdict.kind == "rejected"]
    assert len(refusals) > len(verdicts) / 4
    assert {verdict.kind for _, verdict in verdicts} == {"accepted", "rejected", "failed"}


def test_process_that_ends_is_a_failure_and_the_others_go_on(verdicts: list[tuple[Case, Verdict]]) -> None:
    assert verdicts[50] == (
        Case("no such target", 0, 0),
        Verdict("failed", "crash: the process ended with 1: KeyError: 'no such target'"),
    )
    assert len(verdicts) == EACH * len(TARGETS) + 1


def test_file_that_takes_too_long_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.__main__.CASE_S", 0.0)
    (pair,) = run([Case("checkpoint", 0, 0)], tmp_path)
    assert pair[1] == Verdict("failed", "hang: not done after 0 s")


def test_good_files_are_used(seeds: Path) -> None:
    for target in TARGETS.values():
        if target.good_seed:
            target.use(seeds)
        else:
            with pytest.raises(UserError):
                target.use(seeds)


@pytest.mark.parametrize("name", list(TARGETS))
def test_case_is_the_same_file_every_time_and_cases_differ(name: str, seeds: Path, tmp_path: Path) -> None:
    def contents(number: int) -> dict[str, bytes]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        TARGETS[name].mutate(random.Random(repr(Case(name, 0, number))), seeds, folder)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    made = [contents(number) for number in range(8)]
    assert contents(3) == made[3]
    assert len({tuple(sorted(each.items())) for each in made}) > 4


def bad_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, held: int = 0) -> Verdict:
    """The verdict on a use that raises, or that holds so many bytes."""

    def use(_: Path) -> None:
        b"x" * held
        if error:
            raise error

    monkeypatch.setitem(TARGETS, "bad", TARGETS["manifest"]._replace(mutate=lambda *_: None, use=use))
    return try_case(Case("bad", 0, 0), tmp_path, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("columns"), "KeyError: 'columns' at test_fuzz.py"),
        (MemoryError(), "MemoryError:  at test_fuzz.py"),
        (UserError(" "), "a refusal of 1 characters that is no line"),
    ],
)
def test_what_is_no_refusal_is_a_failure(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = bad_target(tmp_path, monkeypatch, error)
    assert verdict.kind == "failed"
    assert verdict.text.startswith(said)


def test_memory_beyond_the_limit_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.worker.MEMORY_MB", 50)
    assert bad_target(tmp_path, monkeypatch, None, 1 << 20).kind == "accepted"
    held = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) + (100 << 20)
    assert bad_target(tmp_path, monkeypatch, None, held).text.startswith("memory: ")


def test_table_counts(verdicts: list[tuple[Case, Verdict]]) -> None:
    total = format_table(verdicts).splitlines()[-1]
    kinds = Counter(verdict.kind for _, verdict in verdicts)
    numbers = " | ".join(str(number) for number in (len(verdicts), kinds["accepted"], kinds["rejected"], 1))
    assert total == f"| total | {numbers} |"
