"""A small set of faults in a tiny project, each recovered from; and that the tool finds what it looks for."""

import fcntl
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from faults.cases import draw_cases, in_series
from faults.catalogue import FAULTS
from faults.records import read_outcomes, write_outcomes
from faults.results import differences, leftovers, read_results, tracking_problems
from faults.table import format_table
from faults.trial import Case, Outcome, run_series
from faults.workspace import REPOSITORY, Workspace, stage_names, workspace

SERIES = (
    (Case("worker killed", "ingest", 1), Case("terminated", "ingest", 2), Case("database gone", "ingest", 3)),
    (
        Case("all killed", "shard", 4),
        Case("input vanished", "shard", 5),
        Case("output damaged", "shard", 6),
        Case("DVC file torn", "shard", 8),
    ),
)
LITTERING = "\nPath('data/.manifest.parquet.x.part').touch()\n"  # what a stage may not do


@pytest.fixture(scope="module")
def project() -> Iterator[Workspace]:
    """A project after an undisturbed run up to its shards."""
    with workspace(until="shard") as made:
        yield made


def disturb(project: Workspace, *cases: Case) -> list[Outcome]:
    return run_series(project, cases, [FAULTS[case.fault].strike for case in cases], cases[0].seed)


@pytest.mark.parametrize("cases", SERIES, ids=lambda cases: cases[0].stage)
def test_stage_recovers_from_faults_one_after_the_other(project: Workspace, cases: tuple[Case, ...]) -> None:
    outcomes = disturb(project, *cases)
    assert [outcome.case for outcome in outcomes] == list(cases)
    assert [outcome.problems for outcome in outcomes] == [()] * len(cases)
    assert not any(outcome.missed for outcome in outcomes)
    assert any(outcome.status != 0 for outcome in outcomes)
    assert project.processes() == []


def test_what_a_stage_leaves_is_found(project: Workspace) -> None:
    """End to end: the trial of a stage that leaves a half-written file fails, and says which."""
    program = project.before("ingest") / "stages/ingest.py"
    whole = program.read_text()
    program.write_text(whole + LITTERING)
    outcomes = disturb(project, Case("stage killed", "ingest", 7))
    program.write_text(whole)
    assert [outcome.problems for outcome in outcomes] == [("data/.manifest.parquet.x.part is left",)]


def test_other_results_are_found(project: Workspace) -> None:
    project.restore("shard")
    root, stages = project.project, ["corpus", "ingest"]
    good = read_results(root, stages)
    assert list(differences(good, project.results["ingest"])) == []
    picture = next(root.glob("data/corpus/heldout/JPEGImages/480p/*/00000.jpg"))
    picture.write_bytes(picture.read_bytes() + b"x")
    (root / "data/corpus/more").touch()
    (root / "data/manifest.md").unlink()
    assert sorted(differences(read_results(root, stages), good)) == [
        f"{picture.relative_to(root)} differs",
        "data/corpus/more is not of the undisturbed run",
        "data/manifest.md is missing",
    ]


def test_held_locks_are_found(tmp_path: Path) -> None:
    (tmp_path / ".amd/locks").mkdir(parents=True)
    with (tmp_path / ".amd/locks/shard").open("w") as file:
        assert list(leftovers(tmp_path)) == []
        fcntl.flock(file, fcntl.LOCK_EX)
        assert list(leftovers(tmp_path)) == [".amd/locks/shard is still locked"]


def test_untrue_runs_are_found(project: Workspace, tmp_path: Path) -> None:
    project.restore("shard")
    database = project.project / "mlflow.db"
    assert list(tracking_problems(database, "ingest")) == []
    assert list(tracking_problems(database, "shard")) == ["no MLflow run of shard is finished"]
    with closing(sqlite3.connect(database, isolation_level=None)) as store:
        store.execute("UPDATE runs SET status = 'RUNNING' WHERE name = 'corpus'")
    assert list(tracking_problems(database, "ingest")) == ["MLflow run corpus is left running"]


def test_a_round_has_every_fault_wherever_it_fits() -> None:
    stages = stage_names(REPOSITORY)
    cases = draw_cases(None, 0, stages)
    assert len(cases) >= 100
    for name, fault in FAULTS.items():
        assert sorted(case.stage for case in cases if case.fault == name) == sorted(
            stage for stage in fault.stages or stages for _ in range(fault.times)
        )
    assert {case.stage for case in cases} == set(stages)
    assert draw_cases(None, 0, stages) == cases
    assert draw_cases(None, 1, stages) != cases
    again = draw_cases(len(cases) + 3, 0, stages)
    assert [(case.fault, case.stage) for case in again[-3:]] == [(case.fault, case.stage) for case in cases[:3]]
    assert len(set(again)) == len(again)  # at other moments


def test_series_are_of_one_stage_each() -> None:
    cases = [Case("terminated", stage, number) for number, stage in enumerate("abacbaaab")]
    groups = in_series(cases, 2)
    assert ["".join(case.stage for case in group) for group in groups] == ["aa", "bb", "c", "aa", "a", "b"]
    assert sorted(case.seed for group in groups for case in group) == list(range(len(cases)))
    assert in_series(cases, 1) == [[case] for case in cases]


def test_table_counts_and_names_what_failed(tmp_path: Path) -> None:
    outcomes = [
        Outcome(Case("all killed", "shard", 1), status=-9, mended=True),
        Outcome(Case("all killed", "ingest", 2), missed=True),
        Outcome(Case("database gone", "shard", 3), ("x differs",), status=0, log="somewhere"),
    ]
    write_outcomes(tmp_path / "kept.json", outcomes)
    assert read_outcomes(tmp_path / "kept.json") == outcomes
    lines = format_table(outcomes, {"disk full": "no disk"}).splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:5]]
    assert [row[:8] for row in rows] == [
        ["all killed", "2", "2", "1", "1", "1", "1", "0"],
        ["database gone", "1", "1", "0", "0", "0", "0", "1"],
        ["total", "3", "2", "1", "1", "1", "1", "1"],
    ]
    assert lines[5:] == [
        "disk full: not tried: no disk",
        "FAILED database gone in shard (--case 3): x differs [somewhere]",
    ]


def test_command_fills_a_disk_and_goes_on_with_its_record(tmp_path: Path) -> None:
    """The command itself, in a namespace of its own: on this machine its mounts are not to be seen."""
    kept = tmp_path / "outcomes.json"
    command = [sys.executable, "-m", "faults", "--only", "disk full", "--stages", "corpus", "--json", str(kept)]
    first = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    if "not tried" in first.stdout:
        pytest.skip(first.stdout.splitlines()[-1])
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.search(r"\| disk full \| 1 \| 1 \| \d \| 1 \| \d \| 0 \| 0 \|", first.stdout)
    assert "amd-faults-" not in Path("/proc/mounts").read_text()
    assert [row["case"]["fault"] for row in json.loads(kept.read_text())] == ["disk full"]
    second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "0 to do" in second.stdout
    assert first.stdout.splitlines()[-3:] == second.stdout.splitlines()[-3:]
