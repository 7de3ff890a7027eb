"""The benchmarks run, at tiny sizes, and their arithmetic is right: turns, ratios, growth, memory of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import REPOSITORY
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.__main__ import SUBJECTS
from benchmarks.agreement import require_close
from benchmarks.measure import Setting, compared, goal, growth, in_turn, peak_mb
from benchmarks.table import cells, line, measured_on
from benchmarks.training_step import two_steps
from benchmarks.workloads import architecture

MEGABYTES = 200


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One run of every subject."""
    out = tmp_path_factory.mktemp("benchmarks") / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    return json.loads(out.read_text())


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_gives_ratios(report, subject):
    rows = [row for row in report["rows"] if row["subject"] == subject]
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    assert ratios
    for row in rows:
        assert row["measured"]["median"] > 0
        assert row["measured"]["lower"] <= row["measured"]["median"] <= row["measured"]["upper"]
    for ratio in ratios:
        assert np.isfinite(ratio["median"])
        assert ratio["median"] > 0


def test_the_report_says_what_it_was_measured_on(report):
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["torch"] == torch.__version__
    assert report["torch_threads"] == 1
    assert len(report["load_average"]) == 3
    assert report["subjects"].keys() == set(SUBJECTS)


def test_the_table_of_the_documents_has_a_line_for_every_row(report):
    head, *table = cells(report)
    assert len(table) == len(report["rows"])
    for found, row in zip(table, report["rows"], strict=True):
        assert found[1] == row["case"]
        assert len(found) == len(head)
    assert report["versions"]["torch"] in measured_on(report)


def test_processes_of_sharding_load_no_torch():
    """Every process that a subject starts imports the program first: torch would be part of what is measured."""
    code = "import sys, benchmarks.__main__, benchmarks.sharding; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def setting(folder: Path, quick: bool = False) -> Setting:
    return Setting(quick, torch.device("cpu"), folder)


def test_calls_take_turns_after_a_warm_up(tmp_path):
    made = []
    times = in_turn(setting(tmp_path), {name: lambda name=name: made.append(name) for name in "ab"}, 0.0, 3)
    assert made == ["a", "b"] * 4
    assert [len(values) for values in times.values()] == [3, 3]
    made.clear()
    in_turn(setting(tmp_path, quick=True), {"a": lambda: made.append("a")}, 10.0, 3, warm_up=False)
    assert made == ["a"]


def test_a_ratio_is_of_each_round_and_counts_the_work():
    """Rounds that drift by a factor of ten leave the ratio alone: 3 times, and 6 when ours does twice the work."""
    times = {"ours": np.array([1.0, 10.0, 2.0]), "other": np.array([3.0, 30.0, 6.0])}
    row = compared("case", times, "ours", "other", items=4, item="frames", target=3.0)
    assert (row.ratio.lower, row.ratio.median, row.ratio.upper) == (3, 3, 3)
    assert (row.measured.lower, row.measured.median, row.measured.upper) == (1.5, 2, 6)
    assert row.rate == 2
    assert row.met
    twice = compared("case", times, "ours", "other", work=2, target=6.1)
    assert twice.ratio.median == 6
    assert not twice.met


def test_growth_is_against_the_smallest_in_proportion():
    rows = list(growth("{size} frames", {"2": np.array([1.0]), "8": np.array([5.0])}, "frames"))
    assert [row.case for row in rows] == ["8 frames"]
    assert rows[0].ratio.median == pytest.approx(0.8)  # 4 s were in proportion


def test_a_goal_is_met_below_it():
    assert goal("case", [9.0, 9.5, 11.0], 10.0).met
    assert not goal("case", [10.5], 10.0).met


def test_a_line_says_whether_the_target_is_met():
    text = line(goal("a clip", [8.0], 10.0, items=4, item="steps", subject="adaptation").to_dict())
    assert text.split() == ["adaptation", "a", "clip", "8", "s", "0.5", "steps/s", "1.25", "1", "met", "goal"]


def test_peak_memory_is_of_the_call_alone():
    """A parent that is larger than its child does not show in the child's figure."""
    ballast = np.ones(4 * MEGABYTES << 17)  # of 8 bytes
    small, large = peak_mb(np.ones, 1), peak_mb(np.ones, MEGABYTES << 17)
    assert large - small == pytest.approx(MEGABYTES, rel=0.1)
    assert small < ballast.nbytes / 2**20


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_two_steps_are_taken_where_memory_is_measured(dtype):
    counted = []
    hook = register_optimizer_step_post_hook(lambda *step: counted.append(step))
    two_steps(architecture("ResNet-50", quick=True), 1, 48, dtype, torch.device("cpu"))
    hook.remove()
    assert len(counted) == 2


def test_other_numbers_are_refused():
    ours = torch.linspace(0, 1, 5)
    require_close("values", ours, ours + 5e-4)
    with pytest.raises(AssertionError, match=r"values differ by 0\.1"):
        require_close("values", ours + 0.1, ours)
