"""Programs that are forked by one that has imported their modules: as programs of their own, without the start-up."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from adapt_project import REPOSITORY
from waiting import ended, wait_for

from amd.runtime.processes import Programs

MODULE = "often_run"
PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path

with open(os.environ["IMPORTS"], "a") as file:  # once a process that imports it
    print(os.getpid(), file=file)

def main():
    print(*sys.argv[1:], os.environ["WORD"], Path.cwd().name, flush=True)
    match sys.argv[1]:
        case "status": sys.exit(int(sys.argv[2]))
        case "words": sys.exit("no such thing")
        case "error": raise ValueError("wrong")
        case "killed": os.kill(os.getpid(), signal.SIGKILL)
        case "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1] in ("child", "stubborn", "long"):
        child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 300"])
        Path("child").write_text(str(child.pid))
        Path("self.part").write_text(str(os.getpid()))
        Path("self.part").rename("self")  # the last: who sees it sees both whole
    if sys.argv[1] in ("stubborn", "long"):
        time.sleep(300)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / f"{MODULE}.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def programs(folder: Path) -> Iterator[Programs]:
    with Programs(0.5, MODULE) as made:
        yield made


def run(programs: Programs, folder: Path, *words: str, seconds: float = 60.0, **variables: str) -> tuple[int, str]:
    """Exit status and output of the program in `folder`."""
    environment = surroundings(folder) | variables
    with (folder / "log").open("w+") as log:
        options = {"stdout": log, "stderr": subprocess.STDOUT, "env": environment, "cwd": folder}
        status = programs.run([sys.executable, "-m", MODULE, *words], seconds, **options)
        log.seek(0)
        return status, log.read()


def surroundings(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return {**os.environ, "PYTHONPATH": path, "IMPORTS": str(folder / "imports"), "WORD": "a"}


def imports(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "imports").read_text().split()]


def test_runs_are_those_of_a_program_of_its_own(programs: Programs, folder: Path) -> None:
    for plain in (False, True):
        with Programs(0.5) as others:
            chosen = others if plain else programs
            assert run(chosen, folder, "status", "0") == (0, f"status 0 a {folder.name}\n")
            assert run(chosen, folder, "status", "3", WORD="b") == (3, f"status 3 b {folder.name}\n")
            assert run(chosen, folder, "words") == (1, f"words a {folder.name}\nno such thing\n")
            status, said = run(chosen, folder, "error")
            assert (status, said.splitlines()[-1]) == (1, "ValueError: wrong")
            assert run(chosen, folder, "killed")[0] == -signal.SIGKILL
        assert len(imports(folder)) == (6 if plain else 1)


def test_a_program_is_imported_ahead_of_its_runs(programs: Programs, folder: Path) -> None:
    programs.prepare(surroundings(folder), folder)
    wait_for((folder / "imports").exists, 60)
    assert run(programs, folder, "status", "3", WORD="b") == (3, f"status 3 b {folder.name}\n")
    programs.prepare(surroundings(folder), folder)
    assert len(imports(folder)) == 1


def test_programs_prepared_in_vain_end_with_their_block(folder: Path) -> None:
    with Programs(0.5, MODULE) as programs:
        programs.prepare(surroundings(folder), folder)
        wait_for(lambda: (folder / "imports").exists() and imports(folder), 60)
        with programs:
            pass
    (zygote,) = imports(folder)
    assert not psutil.pid_exists(zygote)


def test_timeout_ends_the_whole_group_and_no_other(programs: Programs, folder: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(programs, folder, "stubborn", seconds=3.0)
    wait_for(lambda: ended(folder / "child") and ended(folder / "self"), 5)
    assert run(programs, folder, "status", "4")[0] == 4
    assert len(imports(folder)) == 1


def test_what_a_run_leaves_is_ended(programs: Programs, folder: Path) -> None:
    assert run(programs, folder, "child")[0] == 0
    wait_for(lambda: ended(folder / "child"), 5)


@pytest.mark.parametrize("word", ["long", "stubborn"])
def test_runs_end_with_their_block(folder: Path, word: str) -> None:
    statuses: list[int] = []
    with Programs(0.5, MODULE) as programs:
        thread = threading.Thread(target=lambda: statuses.append(run(programs, folder, word)[0]))
        thread.start()
        wait_for((folder / "self").exists, 60)
    thread.join()
    assert statuses == [-(signal.SIGTERM if word == "long" else signal.SIGKILL)]
    wait_for(lambda: ended(folder / "self") and ended(folder / "child"), 5)
    (zygote,) = imports(folder)
    assert not psutil.pid_exists(zygote)
    with pytest.raises(RuntimeError, match="stopped"):
        run(programs, folder, "status", "0")


def test_runs_end_with_a_starter_that_is_killed(folder: Path) -> None:
    starter = f"""
import os, subprocess, sys
from amd.runtime.processes import Programs
with Programs(9.0, {MODULE!r}) as programs, open("log", "w") as log:
    options = {{"stdout": log, "stderr": subprocess.STDOUT, "env": dict(os.environ), "cwd": os.getcwd()}}
    programs.run([sys.executable, "-m", {MODULE!r}, "long"], 300.0, **options)
"""
    environment = surroundings(folder)
    process = subprocess.Popen([sys.executable, "-c", starter], env=environment, cwd=folder)
    try:
        wait_for((folder / "self").exists, 60)
        assert not ended(folder / "self")
        assert not ended(folder / "child")
    finally:
        process.kill()
        process.wait()
    (zygote,) = imports(folder)
    wait_for(lambda: ended(folder / "self") and ended(folder / "child") and not psutil.pid_exists(zygote), 5)


def test_without_its_zygote_a_program_is_started(programs: Programs, folder: Path) -> None:
    run(programs, folder, "status", "0")
    (zygote,) = imports(folder)
    os.kill(zygote, signal.SIGKILL)
    assert run(programs, folder, "status", "5")[0] == 5
    assert len(imports(folder)) == 2


def test_module_that_cannot_be_imported_says_so_itself(programs: Programs, folder: Path) -> None:
    (folder / f"{MODULE}.py").write_text("import no_such_module\n")
    status, said = run(programs, folder, "status", "0")
    assert status == 1
    assert "No module named 'no_such_module'" in said


def test_guardian_that_is_killed_takes_its_run_along(folder: Path) -> None:
    statuses: list[int] = []
    with Programs(0.5, MODULE) as programs:
        thread = threading.Thread(target=lambda: statuses.append(run(programs, folder, "long")[0]))
        thread.start()
        wait_for((folder / "self").exists, 60)
        worker = psutil.Process(int((folder / "self").read_text()))
        worker.parent().kill()
        thread.join(10)
    assert statuses == [-signal.SIGKILL]
    wait_for(lambda: ended(folder / "self") and ended(folder / "child"), 5)
