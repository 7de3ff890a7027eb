"""Several processes promote at once, one of them is killed: one champion and a true history are left.

Against an SQLite file and against a real MLflow server; the processes work in folders of their own, so that no lock
file of this project stands between them.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random
from shlex import quote, split

import pytest
from backends import answers, free_ports
from registering import champion
from test_promotion import version
from waiting import wait_for

from amd.registry.ledger import Ledger
from amd.registry.promotion import promote, rollback
from amd.runtime.errors import UserError
from amd.runtime.tracking import connect

SCORES = {"1": 0.60, "2": 0.61, "3": 0.66, "4": 0.67}  # 1 and 2 may follow each other, 3 and 4 too; no way back
PROCESSES, TURNS = 3, 3
PROGRAMS = multiprocessing.get_context("forkserver")  # MLflow takes seconds to import: once for all processes
PROGRAMS.set_forkserver_preload(["amd.registry.promotion"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server of its own."""
    folder = tmp_path_factory.mktemp("server")
    (port,) = free_ports(1)
    store = f"--backend-store-uri sqlite:///{folder}/mlflow.db --artifacts-destination {folder}/artifacts"
    command = f"{quote(sys.executable)} -m mlflow server --host 127.0.0.1 --port {port} --workers 2 {store}"
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # four processes of no use here
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            split(command), cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/health"), 240)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("kind", ["file", "server"])
def test_promotions_at_once_leave_one_champion_and_a_true_history(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    uri = request.getfixturevalue("server") if kind == "server" else f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    for score in SCORES.values():
        version("raced", score)
    promote("raced", "1")
    told = race(uri, tmp_path)

    promote("raced", "4", "last")  # carries out what the killed one may have left, is refused by no gate
    page = Ledger(connect(), "raced").read()
    assert page.done
    assert page.champion == champion("raced") == "4"
    assert [entry.before for entry in page.entries] == [None, *(entry.version for entry in page.entries[:-1])]
    entered = [asdict(entry) for entry in page.entries]
    assert [entry for entry in told if entered.count(entry) != 1] == []  # who was told of a success finds it, once
    assert len({entry.why for entry in page.entries if entry.why}) == len(page.entries) - 1
    assert not [entry for entry in page.entries if entry.action == "found"]
    for entry in page.entries[1:]:
        if entry.action == "promoted":  # the gates were asked about the very champion that it replaced
            assert SCORES[entry.version] >= SCORES[entry.before] - 0.02
            assert f"of champion version {entry.before} " in entry.gates


def race(uri: str, folder: Path) -> list[dict]:
    """Run the processes, kill one on its way; the entries that they were told of."""
    start = PROGRAMS.Event()
    homes = [folder / str(number) for number in range(PROCESSES + 1)]
    children = []
    for home in homes:
        home.mkdir()
        turns = TURNS if home is not homes[-1] else 1000
        children.append(PROGRAMS.Process(target=decide, args=(uri, home, turns, start), daemon=True))
    for child in children:
        child.start()
    wait_for(lambda: all((home / "ready").exists() for home in homes), 240)
    start.set()
    wait_for(lambda: (homes[-1] / "told").exists(), 240)  # it has decided something, and is at the next
    children[-1].kill()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0] * PROCESSES + [-signal.SIGKILL]
    lines = "".join((home / "told").read_text() for home in homes if (home / "told").exists()).splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def decide(uri: str, home: Path, turns: int, start: Event) -> None:
    """Promote and roll back at random, and write down what came of it."""
    os.environ["MLFLOW_TRACKING_URI"] = uri  # the environment is that of the first test
    os.chdir(home)
    random = Random(home.name)
    Path("ready").touch()
    start.wait(300)
    for turn in range(turns):
        why = f"process {home.name}, turn {turn}"
        try:
            entry = rollback("raced", why=why) if turn % 3 == 2 else promote("raced", random.choice("1234"), why)
        except UserError:
            continue
        if entry:
            with Path("told").open("a") as file:
                file.write(json.dumps(asdict(entry)) + "\n")
