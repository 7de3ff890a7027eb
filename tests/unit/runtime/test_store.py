"""Addresses of stores: no password is told, nobody's answer is waited for, a store that was moved is mended."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from waiting import silent_server

from amd.runtime import store
from amd.runtime.errors import UserError
from amd.runtime.store import is_registered, relocate, require_answer, require_in_place, without_password


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:s3cret@host:5000", "http://host:5000"),
        ("postgresql://ann:p%40ss@db/mlflow", "postgresql://db/mlflow"),
        ("postgresql://ann:p@ss@db/mlflow", "postgresql://db/mlflow"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
    ],
)
def test_no_password_is_told(uri: str, shown: str) -> None:
    assert without_password(uri, uri) == shown
    assert without_password(f"cannot open {uri} now", uri) == f"cannot open {shown} now"


def test_a_password_by_itself_is_not_told() -> None:
    assert "s3cret" not in without_password("password s3cret is wrong", "http://ann:s3cret@host")


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_an_address_where_nobody_listens_is_named_in_time(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.PATIENCE_S < 15
    monkeypatch.setattr(store, "PATIENCE_S", 1.0)
    message = rf"^{scheme}://127.0.0.1:9/x: nobody answers \(.*refused.*or correct THE_VARIABLE"
    with pytest.raises(UserError, match=message) as error:
        require_answer(f"{scheme}://ann:s3cret@127.0.0.1:9/x", "THE_VARIABLE")
    assert "s3cret" not in str(error.value)


def test_a_server_that_takes_the_question_and_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PATIENCE_S", 1.0)
    started = time.monotonic()
    with silent_server() as port, pytest.raises(UserError, match="nobody answers"):
        require_answer(f"http://127.0.0.1:{port}", "X")
    assert time.monotonic() - started < 5


@contextmanager
def http_server(status: int, asked: list[str] | None = None) -> Iterator[str]:
    """The address of a server that answers everything with `status`; what it was asked for goes into `asked`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("status", "missing"), [(502, ()), (503, ()), (504, ()), (404, (404,))])
def test_a_proxy_or_another_server_is_no_answer(
    status: int, missing: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE_S", 0.5)
    with http_server(status) as address, pytest.raises(UserError, match=rf"nobody answers \(HTTP status {status}\)"):
        require_answer(address, "X", missing)


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_a_server_that_refuses_or_asks_for_a_password_answers(status: int) -> None:
    asked: list[str] = []
    with http_server(status, asked) as address:
        require_answer(address, "X")
    assert len(asked) == 1  # not asked again and again, as one that is away is


@pytest.mark.parametrize("uri", ["sqlite:////nowhere/mlflow.db", "databricks"])
def test_files_need_no_answer(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("socket.socket.connect", lambda _, address: asked.append(address))
    require_answer(uri, "X")
    assert asked == []


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A database whose files are said to lie in /old/mlartifacts."""
    path = tmp_path / "a b ü/mlflow.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as made, made:
        made.executescript(
            """CREATE TABLE experiments (name VARCHAR, artifact_location VARCHAR);
            CREATE TABLE runs (artifact_uri VARCHAR(200), number INTEGER);
            CREATE TABLE params (value TEXT);
            CREATE TABLE model_version_tags (name TEXT, version INTEGER, key TEXT, value TEXT);
            INSERT INTO experiments VALUES ('Default', '/elsewhere/0'), ('amd', '/old/mlartifacts');
            INSERT INTO runs VALUES ('/old/mlartifacts/1/artifacts', 1), ('file:///old/mlartifacts/2', 2);
            INSERT INTO runs VALUES ('/old/mlartifacts-2/3', 3);
            INSERT INTO params VALUES ('/old/videos');
            INSERT INTO model_version_tags VALUES ('amd', 3, 'checkpoint.sha256', 'abc');"""
        )
    return path


def rows(path: Path, query: str) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return [value for (value,) in opened.execute(query)]


def test_a_moved_store_is_refused_and_relocated(moved: Path) -> None:
    with pytest.raises(UserError, match=r"keeps its files in /old/mlartifacts.*`amd models relocate`"):
        require_in_place(moved)
    assert relocate(moved) == 3
    require_in_place(moved)
    new = f"{moved.parent}/mlartifacts"
    assert rows(moved, "SELECT artifact_location FROM experiments") == ["/elsewhere/0", new]
    assert rows(moved, "SELECT artifact_uri FROM runs") == [f"{new}/1/artifacts", f"{new}/2", "/old/mlartifacts-2/3"]
    assert rows(moved, "SELECT value FROM params") == ["/old/videos"]
    assert relocate(moved) == 0


def test_results_are_registered_where_their_version_is(moved: Path, tmp_path: Path) -> None:
    assert is_registered(moved, "amd", "3", "abc")
    assert not is_registered(moved, "amd", "3", "other")
    assert not is_registered(moved, "amd", "4", "abc")
    assert not is_registered(tmp_path / "none.db", "amd", "3", "abc")
    assert not (tmp_path / "none.db").exists()
