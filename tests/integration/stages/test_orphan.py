"""A stage whose DVC was killed before the stage could look: it ends, and does not stand in the way of the next run."""

import os
import subprocess
import sys
from pathlib import Path
from shlex import quote

import pytest
from projects import enter_project
from waiting import ended, wait_for


def test_a_stage_that_dvc_left_behind_ends_before_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_project(tmp_path, {}, monkeypatch)
    command = f"{quote(sys.executable)} -m stages.corpus 2> said & echo $! > pid"
    started_by_dvc = os.environ | {"DVC_STAGE": "corpus"}
    subprocess.run(["sh", "-c", command], env=started_by_dvc, start_new_session=True, check=True)
    wait_for(lambda: ended(Path("pid")), 60)
    assert Path("said").read_text().endswith("interrupted; the same command continues\n")
    assert not Path("data").exists()
